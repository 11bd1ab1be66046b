package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/unwind"
)

// leave leaves probes in a program that waits, and gives what it left.
func leave(t testing.TB, p *running, locations ...string) *Resident {
	t.Helper()
	s := attach(t, p.pid, Options{Resident: true})
	for _, loc := range locations {
		register(t, s, ProbeSpec{Location: loc})
	}
	return left(t, p, s)
}

func left(t testing.TB, p *running, s Session) *Resident {
	t.Helper()
	if err := s.Leave(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenResident(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.killed()
		until(t, "the program's end", func() bool { return !r.Running() })
		if err := r.Collect(); err != nil {
			t.Error(err)
		}
	})
	if by := procfs.Tracer(p.pid); by != 0 || !r.Running() {
		t.Errorf("%d is traced by %d, running %v", p.pid, by, r.Running())
	}
	return r
}

func (p *running) killed() { _ = syscall.Kill(p.pid, syscall.SIGKILL) }

// residentHits are all hits of what was left.
func residentHits(t testing.TB, r *Resident) (n uint64) {
	t.Helper()
	places, err := r.Placements()
	if err != nil {
		t.Fatal(err)
	}
	for _, pl := range places {
		n += pl.Hits
	}
	return n
}

// TestResident leaves probes in programs of each kind. No tracer is there, and the counts are exact
// when another process reads them after the programs' end.
func TestResident(t *testing.T) {
	eachJumpProgram(t, func(t *testing.T, p *running, where string) func() uint64 {
		r := leave(t, p, where)
		return func() uint64 { return residentHits(t, r) }
	})
}

// TestResidentStop leaves probes and takes them away while threads run through
// them and signals come, again and again: nothing is left in the program, and
// what was counted can still be read.
func TestResidentStop(t *testing.T) {
	needsJumps(t)
	for _, c := range []struct{ fixture, args, where string }{
		{"threads", pace("4", "1") + " 10000000000", "work"}, {"gowork", pace("4", "1") + " 10000000000", "main.work"},
		{"storm", "plain 100000000000 2000", "work"}, {"storm", "altstack 100000000000 2000", "work"},
		{"short", "4 10000000000", "pick%return"}, // a pun
	} {
		t.Run(c.fixture+"-"+strings.Fields(c.args)[0], func(t *testing.T) {
			p := launch(t, c.fixture, strings.Fields(c.args)...)
			text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
			p.goOn()
			if c.fixture != "gowork" { // its own handlers, or glibc's for threads
				until(t, "handlers", func() bool { return field(p.pid, "SigCgt") != caught })
				caught = field(p.pid, "SigCgt")
			}
			for range pace(20, 4) {
				r := leave(t, p, c.where)
				until(t, "hits", func() bool { return residentHits(t, r) > 1000 })
				if err := r.Collect(); !errors.Is(err, ErrResident) {
					t.Fatalf("collected while it runs: %v", err)
				}
				if err := r.Stop(10 * time.Second); err != nil {
					if gone(err) {
						out, status := p.end()
						t.Errorf("%q, status %d", out, status)
					}
					t.Fatal(err)
				}
				if isClean(t, p.pid, text, caught); r.Running() || strings.Contains(mapsOf(t, p.pid), "ptracer") {
					t.Fatal("it is still there")
				}
				if residentHits(t, r) < 1000 {
					t.Error("the hits are gone")
				}
				if err := r.Collect(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := OpenResident(p.pid); !errors.Is(err, ErrNotResident) {
				t.Errorf("what was collected: %v", err)
			}
		})
	}
}

// TestResidentOfUser: root leaves probes in another user's program. That user must be able to open
// the maps; root reads them, and takes the probes out.
func TestResidentOfUser(t *testing.T) {
	needsJumps(t)
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become another user")
	}
	p := launchAs(t, 65534, "threads", "2", "10000000000")
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	p.goOn()
	until(t, "glibc's handlers for threads", func() bool { return field(p.pid, "SigCgt") != caught })
	caught = field(p.pid, "SigCgt")
	r := leave(t, p, "work")
	until(t, "hits", func() bool { return residentHits(t, r) > 1000 })
	if list, err := Residents(); err != nil || !slices.ContainsFunc(list, func(x *Resident) bool { return x.PID == p.pid }) {
		t.Errorf("it is not among those that have probes: %v, %v", list, err)
	}
	if err := r.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	isClean(t, p.pid, text, caught)
	if residentHits(t, r) < 1000 {
		t.Error("the hits are gone")
	}
	if err := r.Collect(); err != nil {
		t.Fatal(err)
	}
}

// TestResidentRefuses is what can't be had.
func TestResidentRefuses(t *testing.T) {
	needsJumps(t)
	p := launch(t, "calls", "1", "10")
	s := attach(t, p.pid)
	if err := s.Leave(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a session that was not made for it: %v", err)
	}
	for _, spec := range []ProbeSpec{{Location: "step", Rung: breakpoint.Slot}, {Location: "step", Action: ActionTell}} {
		s = attach(t, p.pid, Options{Resident: true})
		id := register(t, s, spec)
		if err := s.Leave(); !errors.Is(err, resident.ErrNothing) {
			t.Errorf("%+v: %v", spec, err)
		}
		if pl := s.Placements(id); len(pl) != 1 || !errors.Is(pl[0].Err, resident.ErrNeedsUs) {
			t.Errorf("%+v: placements %+v", spec, pl)
		}
	}
	if _, err := Attach(context.Background(), p.pid, Options{Resident: true, Follow: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("with children: %v", err)
	}
	if _, err := OpenResident(p.pid); !errors.Is(err, ErrNotResident) {
		t.Errorf("found: %v", err)
	}
	r := leave(t, p, "step")
	if _, err := Attach(context.Background(), p.pid); !errors.Is(err, ErrResident) {
		t.Errorf("attached: %v", err)
	}
	if n := len(r.Locations()); n != 1 || r.Command != "calls" || time.Since(r.Planted) > time.Hour {
		t.Errorf("%+v", r)
	}
	p.goOn()
	if out, status := p.end(); status != 0 || residentHits(t, r) != 10 {
		t.Errorf("%d hits, %q, status %d", residentHits(t, r), out, status)
	}
}

// TestResidentHandlers leaves a handler in a program.
func TestResidentHandlers(t *testing.T) {
	needsJumps(t)
	p := launch(t, "calls", "2", "300")
	s := attach(t, p.pid, Options{Resident: true})
	for _, spec := range []HandlerSpec{
		{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}, Scale: builtin.Scale{Step: 10, Count: 20}}},
		{Name: "count", Params: builtin.Params{Guards: builtin.Guards{Every: 2}}},
	} {
		h, err := s.OpenHandler(spec)
		if errors.Is(err, errors.ErrUnsupported) && s.ISA().Name() == "arm64" {
			skip.Missing(t, "handlers with values for each CPU, in arm64 programs")
		} else if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		register(t, s, ProbeSpec{Location: "leaf", Handler: h})
	}
	latency := openHandler(t, s, HandlerSpec{Name: "latency"})
	defer latency.Close()
	register(t, s, ProbeSpec{Location: "fact", Handler: latency})
	r := left(t, p, s)
	p.goOn()
	p.end()
	list, err := r.Results()
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	var b bytes.Buffer
	for _, x := range list {
		fmt.Fprintf(&b, "%s %s\n", x.Location, x.Handler)
		if err := x.Result.Text(&b, 80); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(b.String(), "800 values") || !strings.Contains(b.String(), "400 hits") || !strings.Contains(b.String(), "1600 values") || residentHits(t, r) != 1600+1600 {
		t.Errorf("%d hits\n%s", residentHits(t, r), b.String())
	}
}

// TestResidentGDB has gdb attach to a program with resident probes: it breaks in
// a probed function, and knows the way there.
func TestResidentGDB(t *testing.T) {
	needsJumps(t)
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		skip.Missing(t, "gdb")
	}
	p := launch(t, "threads", "2", "100000000000")
	r := leave(t, p, "work")
	p.goOn()
	until(t, "hits", func() bool { return residentHits(t, r) > 1000 })
	out, err := exec.Command(gdb, "-nx", "-batch", "-ex", "set debuginfod enabled off", "-p", strconv.Itoa(p.pid),
		"-ex", "break work", "-ex", "continue", "-ex", "bt", "-ex", "detach").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^#0 .*work`).Match(out) || !regexp.MustCompile(`(?m)^#\d .*clone|start_thread`).Match(out) {
		t.Errorf("gdb: %v\n%s", err, out)
	}
	n := residentHits(t, r)
	until(t, "hits after gdb", func() bool { return residentHits(t, r) > n+1000 })
	if err := r.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
}

// TestResidentExec has a program with resident probes execute another one: they
// are over, and can be collected.
func TestResidentExec(t *testing.T) {
	needsJumps(t)
	p := launch(t, "life", "exec")
	r := leave(t, p, "work")
	p.goOn()
	p.end()
	if r.Running() {
		t.Error("it is still there")
	}
	if _, err := r.Placements(); err != nil {
		t.Error(err)
	}
}

// residentForever leaves probes and takes them away, over and over, until it is
// killed.
func residentForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	fmt.Println("go")
	for n := 0; ; n++ {
		s, err := Attach(context.Background(), pid, Options{Resident: true})
		if err != nil {
			return
		}
		for _, loc := range strings.Split(os.Getenv(probesEnv), " ") {
			_, _ = s.Register(ProbeSpec{Location: loc, Pending: true})
		}
		_ = s.Leave()
		if r, err := OpenResident(pid); err == nil && (r.Stop(time.Second) != nil || r.Collect() != nil) {
			return
		}
	}
}

// TestResidentSurvive kills, at random moments, a tracer that leaves resident probes and takes them
// out.
func TestResidentSurvive(t *testing.T) {
	needsJumps(t)
	for _, c := range []struct {
		fixture string
		args    []string
		probes  string
	}{
		{"threads", []string{"3", "40000", "1000"}, "work work%return libc:malloc libc:malloc%return"},
		{"gowork", []string{"3", "40000", "1000"}, "main.work main.work%return main.deep runtime.mallocgc"},
	} {
		t.Run(c.fixture, func(t *testing.T) { surviveAll(t, c.fixture, c.args, "resident", c.probes) })
	}
	list, err := Residents()
	for _, r := range list {
		if !r.Running() && (r.Command == "threads" || r.Command == "gowork") {
			err = errors.Join(err, r.Collect())
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestSignalled finds where a signal has interrupted a program that is in the signal's handler.
func TestSignalled(t *testing.T) {
	p := launch(t, "life", "signal")
	p.goOn()
	until(t, "the handler", func() bool { return inRead(p.pid) })
	s := attach(t, p.pid).(*session)
	if err := s.loop.Do(func() error {
		proc := s.loop.Procs[p.pid]
		return s.loop.WhileHalted(func(breakpoint.Pause) error {
			r, err := s.loop.Tasks[p.pid].Regs()
			if err != nil {
				return err
			}
			stacks, err := procfs.Maps(p.pid)
			if err != nil {
				return err
			}
			call := map[bool][]byte{true: {0x0f, 0x05}, false: {0x01, 0, 0, 0xd4}}[s.isa.MinInst() == 1]
			behindCall := func(v uint64) bool { // it sent the signal to itself
				code := make([]byte, len(call))
				return proc.Space.Memory.Read(arch.Addr(v)-arch.Addr(len(call)), code) == nil && bytes.Equal(code, call)
			}
			places := unwind.Signalled(s.isa, jump.StackWords(proc.Space, stacks, arch.Addr(r[s.isa.SPReg()]), 256<<10))
			if !slices.ContainsFunc(places, behindCall) || s.isa.MinInst() == 1 && len(places) != 1 {
				t.Errorf("%#x", places)
			}
			return nil
		}, proc.Space)
	}); err != nil {
		t.Error(err)
	}
}

// TestResidentGaps changes the code under a resident probe, as a kernel uprobe does that comes
// and that has gone: that is said beside its count, also behind Stop.
func TestResidentGaps(t *testing.T) {
	needsJumps(t)
	for _, c := range []struct{ put, gap string }{{"", ""}, {"trap", plant.GapUnder}, {"code", plant.GapLost}} {
		p := launch(t, "loop", "100000000", "50")
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.pid), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		r := leave(t, p, "work") // before it goes on: nothing is hit
		pl := r.Note.Probes[0].Places[0]
		code := slices.Clone(pl.Patch)
		switch c.put {
		case "trap":
			copy(code, hostISA().Trap())
		case "code":
			for i := range code {
				code[i] ^= 0x55
			}
		}
		check := func() {
			if places, err := r.Placements(); err != nil || len(places) != 1 || places[0].Gap != c.gap {
				t.Errorf("%s: %+v, %v, want %q", c.put, places, err, c.gap)
			}
		}
		if _, err := mem.WriteAt(code, int64(pl.At)); err != nil {
			t.Fatal(err)
		}
		check()
		if err := r.Stop(hangs); err != nil {
			t.Errorf("%s: %v", c.put, err)
		}
		check()
	}
}

// TestResidentSpoiled: the owner of what was left can write to it. Reading it is an error then.
func TestResidentSpoiled(t *testing.T) {
	needsJumps(t)
	p := launch(t, "loop", "100000000", "1000")
	r := leave(t, p, "loop:work")
	path := filepath.Join(r.Store.Dir(), "maps-1")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const maps = 24 // where a set says how many it has
	if _, err := f.WriteAt(make([]byte, 8), maps); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Placements(); !errors.Is(err, resident.ErrNote) {
		t.Errorf("no maps: %v", err)
	}
	_, err = resident.UnlessShortened(func() (byte, error) {
		mem, err := syscall.Mmap(int(f.Fd()), 0, 1, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Munmap(mem)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		return mem[0], nil
	})
	if !errors.Is(err, resident.ErrShortened) {
		t.Errorf("shortened: %v", err)
	}
}
