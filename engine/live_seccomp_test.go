package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

// Programs that forbid themselves system calls.

var seals = []string{"kill", "trap", "errno", "strict"}

// sealed launches the fixture "sandbox" up to where it has forbidden itself system
// calls and waits for goOn.
func sealed(t testing.TB, name, how string, n int) *running {
	t.Helper()
	p := launch(t, name, how, strconv.Itoa(n), "hold")
	p.goOn()
	waitSealed(t, p.pid)
	return p
}

func waitSealed(t testing.TB, pid int) {
	t.Helper()
	for range 5000 {
		if seal, err := remote.SeccompOf(pid); err != nil {
			t.Fatal(err)
		} else if seal.Mode != 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not forbid itself anything")
}

// maySuspend skips a test that takes the right to suspend filters.
func maySuspend(t *testing.T) {
	t.Helper()
	ours, err := remote.OwnSeccomp()
	if err != nil || ours.Mode != 0 || !procfs.HasCap(unix.CAP_SYS_ADMIN) {
		skip.Missing(t, "CAP_SYS_ADMIN without a seccomp filter, to suspend others'")
	}
}

// loseRight takes the right to suspend filters from a session's thread, which ends
// with the session.
func loseRight(t *testing.T, s Session) {
	t.Helper()
	err := s.(*session).loop.Do(func() error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		if err := unix.Capget(&h, &d[0]); err != nil {
			return err
		}
		d[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		return unix.Capset(&h, &d[0])
	})
	if err != nil {
		t.Fatal(err)
	}
}

func finishes(t *testing.T, p *running, n uint64) {
	t.Helper()
	p.goOn()
	if out, status := p.end(); status != 0 || said(t, out, "calls") != n {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestSeccomp probes programs that may make hardly any system call. Their filter is not asked about
// the calls that the tracer has them make.
func TestSeccomp(t *testing.T) {
	maySuspend(t)
	const n = 100
	for _, name := range []string{"sandbox", "sandbox-static"} {
		for _, how := range seals {
			t.Run(name+"/"+how, func(t *testing.T) {
				p := sealed(t, name, how, n)
				s := attach(t, p.pid)
				count := register(t, s, ProbeSpec{Location: "work"})
				stops := register(t, s, ProbeSpec{Location: "work+*"})
				if err := s.Unregister(stops); err != nil {
					t.Error(err)
				}
				specs := map[string]builtin.Params{"latency": {}, "hist": {Exprs: []string{"tid"}}, "record": {Exprs: []string{"str(arg1)", "comm"}}}
				handlers := map[string]Handler{}
				for kind, params := range specs {
					handlers[kind] = openHandler(t, s, HandlerSpec{Name: kind, Params: params})
					register(t, s, ProbeSpec{Location: "work", Handler: handlers[kind]})
				}
				finishes(t, p, n)
				if hits := s.Hits(count); hits != n {
					t.Errorf("%d hits of %d", hits, n)
				}
				for _, kind := range []string{"latency", "hist"} {
					if c := resultOf(t, handlers[kind]).(map[string]any)["count"].(float64); c != n {
						t.Errorf("%s has %v calls", kind, c)
					}
				}
				for _, h := range handlers {
					if err := h.Close(); err != nil {
						t.Error(err)
					}
				}

				p = sealed(t, name, how, n) // it comes and goes
				text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
				s, err := Attach(context.Background(), p.pid)
				if err != nil {
					t.Fatal(err)
				}
				register(t, s, ProbeSpec{Location: "work"})
				detach(t, s)
				if !maps.Equal(text, textOf(t, p.pid)) || caught != field(p.pid, "SigCgt") {
					t.Error("it is not as it was")
				}
				finishes(t, p, n)
			})
		}
	}
}

// TestSeccompRefused does it without the right: nothing is done to the program then,
// and it is told.
func TestSeccompRefused(t *testing.T) {
	for _, how := range seals {
		t.Run(how, func(t *testing.T) {
			p := sealed(t, "sandbox", how, 100)
			text, mapped := textOf(t, p.pid), mapsOf(t, p.pid)
			s := attach(t, p.pid)
			loseRight(t, s)
			for _, spec := range []ProbeSpec{{Location: "work"}, {Location: "work", Pending: true}, {Location: "libc:write", Action: ActionTell}} {
				if id, err := s.Register(spec); !errors.Is(err, remote.ErrSeccomp) {
					t.Errorf("%v: probe %d, %v", spec, id, err)
				}
			}
			if !maps.Equal(text, textOf(t, p.pid)) || mapped != mapsOf(t, p.pid) {
				t.Error("it has been changed")
			}
			finishes(t, p, 100)
		})
	}
}

// TestSeccompLater has programs seal themselves when they have been probed: what is to
// be taken away again has to stay, but for the code, where filters can't be suspended.
func TestSeccompLater(t *testing.T) {
	for _, right := range []bool{true, false} {
		for _, how := range seals {
			t.Run(fmt.Sprintf("%s/%v", how, right), func(t *testing.T) {
				if right {
					maySuspend(t)
				}
				p := launch(t, "sandbox", how, "100", "hold")
				text := textOf(t, p.pid)
				s, err := Attach(context.Background(), p.pid)
				if err != nil {
					t.Fatal(err)
				}
				if !right {
					loseRight(t, s)
				}
				register(t, s, ProbeSpec{Location: "work"})
				p.goOn()
				waitSealed(t, p.pid)
				id, err := s.Register(ProbeSpec{Location: "work", Action: ActionTell}) // in what is there already
				if err != nil && right {
					t.Errorf("probe %d: %v", id, err)
				}
				if err := s.Detach(); right && err != nil || !right && !errors.Is(err, remote.ErrSeccomp) {
					t.Errorf("detach: %v", err)
				}
				now := textOf(t, p.pid)
				delete(now, "") // ptracer's
				if !maps.Equal(text, now) {
					t.Error("its code has been changed")
				}
				finishes(t, p, 100)
			})
		}
	}
}

// TestSeccompDoctor has it told beforehand.
func TestSeccompDoctor(t *testing.T) {
	p := sealed(t, "sandbox", "kill", 10)
	find := func() *Finding {
		for _, f := range Diagnose(p.pid) {
			if f.Topic == "seccomp" {
				return &f
			}
		}
		return nil
	}
	if procfs.HasCap(unix.CAP_SYS_ADMIN) {
		if f := find(); f == nil || !f.OK {
			t.Errorf("with the right: %+v", f)
		}
	}
	if list := remote.Findings(p.pid, fmt.Errorf("task: %w", remote.ErrSeccomp)); len(list) != 1 || list[0].OK || list[0].Help == "" {
		t.Errorf("without it: %+v", list)
	}
	finishes(t, p, 10)
	p = launch(t, "sandbox", "open", "10")
	if f := find(); f != nil {
		t.Errorf("of a program without a filter: %+v", f)
	}
	finishes(t, p, 10)
}

func init() { tracers["filtered"] = filtered }

// filtered forbids itself nothing by a filter, has programs that inherit it, and
// attaches to one that has no other, and to one that has.
func filtered() {
	allow := unix.SockFilter{Code: 0x06, K: 0x7fff0000} // BPF_RET | BPF_K, SECCOMP_RET_ALLOW
	prog := unix.SockFprog{Len: 1, Filter: &allow}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return
	}
	const setFilter, tsync = 1, 1
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, tsync, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		fmt.Println(errno)
		return
	}
	t := &testing.T{}
	for _, how := range []string{"open", "kill"} {
		p := launch(t, "sandbox", how, "100", "hold")
		p.goOn()
		for seal, _ := remote.SeccompOf(p.pid); how == "kill" && seal.Filters < 2; seal, _ = remote.SeccompOf(p.pid) {
			time.Sleep(time.Millisecond)
		}
		s, err := Attach(context.Background(), p.pid)
		if err != nil {
			fmt.Println(err)
			return
		}
		id, err := s.Register(ProbeSpec{Location: "work"})
		p.goOn()
		out, status := p.end()
		fmt.Printf("%s: %d hits, refused %v, status %d, all calls %v\n", how, s.Hits(id), errors.Is(err, remote.ErrSeccomp), status, strings.HasSuffix(out, "calls 100\n"))
		_ = s.Detach()
	}
}

// TestSeccompOurs is of a container's filter: what is in force of the tracer, too, is
// no reason to do without.
func TestSeccompOurs(t *testing.T) {
	cmd := tracer("filtered", 0)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(hangs, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Wait()
	const want = "open: 100 hits, refused false, status 0, all calls true\nkill: 0 hits, refused true, status 0, all calls true\n"
	if err != nil || out.String() != want {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// firstHandlers are handlers that tell threads by their ids.
var firstHandlers = map[string]builtin.Params{"latency": {}, "hist": {Exprs: []string{"tid"}}, "record": {Exprs: []string{"tid"}}}

// TestSeccompFirst has the first hit of a program's, or of a thread's, be one where it
// may not ask for its ids any more: it is told them, though its pointer was not set yet
// when it was probed.
func TestSeccompFirst(t *testing.T) {
	needsJumping(t)
	const n = 100
	for _, name := range []string{"sandbox", "sandbox-static", "sandbox-static-pie", "sandbox-musl"} {
		for kind, params := range firstHandlers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				s, out := startInto(t, fixture.Path(t, name), "kill", strconv.Itoa(n))
				pid := s.Processes()[0]
				h := openHandler(t, s, HandlerSpec{Name: kind, Params: params, Where: handler.Tracee})
				id := register(t, s, ProbeSpec{Location: "work", Handler: h})
				if err := s.Resume(pid); err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				if e, _ := s.Exit(pid); e.Code() != 0 || s.Hits(id) != n {
					b, _ := os.ReadFile(out)
					t.Errorf("%+v with %d hits: %q", e, s.Hits(id), b)
				}
				foundTID(t, h, kind, pid, n)

				p := launch(t, name, "kill", strconv.Itoa(n)) // attached to, before the filter is there
				s = attach(t, p.pid)
				h = openHandler(t, s, HandlerSpec{Name: kind, Params: params, Where: handler.Tracee})
				register(t, s, ProbeSpec{Location: "work", Handler: h})
				finishes(t, p, n)
				foundTID(t, h, kind, p.pid, n)
			})
		}
	}
}

// TestSeccompVFork has a child in a program's memory, before the filter, with the program's thread
// pointer. The ids that the pointer leads to afterwards are the parent's again.
func TestSeccompVFork(t *testing.T) {
	needsJumping(t)
	const n = 50
	for _, follow := range []bool{false, true} {
		p := launch(t, "sandbox", "kill", strconv.Itoa(n), "vfork")
		s := attach(t, p.pid, Options{Follow: follow})
		tids := openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"tid"}}, Where: handler.Tracee})
		register(t, s, ProbeSpec{Location: "work", Handler: tids})
		finishes(t, p, n)
		r := resultOf(t, tids).(map[string]any)
		lo, hi, sum := r["min"].(float64), r["max"].(float64), r["sum"].(float64)
		if child := sum - (n+1)*float64(p.pid); r["count"].(float64) != n+2 || min(lo, hi) != min(float64(p.pid), child) || max(lo, hi) != max(float64(p.pid), child) {
			t.Errorf("follow %v: of %d and its child: %v", follow, p.pid, r)
		}
		if err := tids.Close(); err != nil {
			t.Error(err)
		}
	}
}

// foundTID looks at what a handler has found of a process with one thread, and closes it.
func foundTID(t *testing.T, h Handler, kind string, tid, n int) {
	t.Helper()
	if kind != "record" {
		r := resultOf(t, h).(map[string]any)
		if r["count"].(float64) != float64(n) || kind == "hist" && (r["min"].(float64) != float64(tid) || r["max"].(float64) != float64(tid)) {
			t.Errorf("%s of thread %d: %v", kind, tid, r)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestSealedMany has so many threads, before any of them has hit, that the news of some
// is not at the place that its pointer's hash gives.
func TestSealedMany(t *testing.T) {
	needsJumps(t)
	const threads, rounds = 600, 5
	const calls = (2*threads + 2) * rounds
	p := launch(t, "sealed", strconv.Itoa(threads), strconv.Itoa(rounds))
	s := attach(t, p.pid, Options{Follow: true})
	// All of them are known at a time: one that has to make room is in a call, maybe.
	known := builtin.Params{Calls: builtin.Calls{Threads: 4 * threads}}
	h := openHandler(t, s, HandlerSpec{Name: "latency", Params: known, Where: handler.Tracee})
	register(t, s, ProbeSpec{Location: "work", Handler: h})
	finishes(t, p, calls)
	if n := resultOf(t, h).(map[string]any)["count"].(float64); n != calls {
		t.Errorf("%v calls of %d", n, calls)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
