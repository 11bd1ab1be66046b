package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/fixture"
)

// TestManySessions has several sessions in one program while it runs children
// of its own.
func TestManySessions(t *testing.T) {
	var wg sync.WaitGroup
	start := fixture.Path(t, "start")
	loop := fixture.Path(t, "loop")
	for range 4 {
		p := launch(t, "threads", "3", "300")
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "work"})
		wg.Go(func() {
			p.goOn()
			out, _ := p.end()
			if got, want := s.Hits(id), said(t, out, "calls"); got != want {
				t.Errorf("%d hits, %d calls", got, want)
			}
		})
		wg.Go(func() {
			for range 10 {
				if out, err := exec.Command(start, loop, "10").Output(); err != nil || !strings.Contains(string(out), "calls 10") {
					t.Errorf("a child of our own: %q, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestManyProcesses has several processes in one session.
func TestManyProcesses(t *testing.T) {
	var ps []*running
	for range 4 {
		ps = append(ps, launch(t, "threads", "2", "200"))
	}
	s := attach(t, ps[0].pid)
	early := register(t, s, ProbeSpec{Location: "work"})
	one := register(t, s, ProbeSpec{Location: "run", PID: ps[0].pid})
	for _, p := range ps[1:] {
		if err := s.AddProcess(p.pid); err != nil {
			t.Fatal(err)
		}
	}
	late := register(t, s, ProbeSpec{Location: "work", Action: ActionTell})
	if got := len(s.Processes()); got != 4 {
		t.Errorf("%d processes", got)
	}
	for _, p := range ps {
		p.goOn()
	}
	for _, p := range ps {
		p.end()
	}
	if s.Hits(early) != 1600 || s.Hits(late) != 1600 || s.Hits(one) != 2 {
		t.Errorf("hits %d, %d, %d", s.Hits(early), s.Hits(late), s.Hits(one))
	}
}

// TestStart runs programs from their first instruction.
func TestStart(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.fixture, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s, err := Start(context.Background(), Command{Path: fixture.Path(t, k.fixture), Args: []string{"2", "100"}, Stdout: w}, Options{Life: true})
			w.Close()
			defer r.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer detach(t, s)
			id := register(t, s, ProbeSpec{Location: k.where})
			pid := s.Processes()[0]
			if err := s.Resume(pid); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			if e, ok := s.Exit(pid); !ok || e.Code() != 0 || s.Hits(id) < 2 {
				t.Errorf("%+v, %v, %d hits", e, ok, s.Hits(id))
			}
		})
	}
	if s, err := Start(context.Background(), Command{Path: "/nowhere/at/all"}); err == nil {
		t.Error("started nothing")
		detach(t, s)
	}
	if s, err := Start(context.Background(), Command{Path: "/etc/passwd"}); err == nil {
		t.Error("started a text")
		detach(t, s)
	}
}

// gone says that a process ended meanwhile.
func gone(err error) bool {
	// Of a process that ends, memory is not mapped before it is gone.
	return errors.Is(err, ErrEnded) || errors.Is(err, ErrGone) || errors.Is(err, breakpoint.ErrNotMapped)
}

// TestRegisterStorm plants and removes probes while threads run through them.
func TestRegisterStorm(t *testing.T) {
	t.Run("traps", func(t *testing.T) { registerStorm(t, breakpoint.Slot, pace[uint64](30000, 1500)) })
	t.Run("jumps", func(t *testing.T) { registerStorm(t, breakpoint.Auto, 1000000) })
}

func registerStorm(t *testing.T, rung breakpoint.Rung, calls uint64) {
	p := launch(t, "threads", "4", fmt.Sprint(calls), "300")
	s := attach(t, p.pid)
	whole := register(t, s, ProbeSpec{Location: "work", Rung: rung})
	p.goOn()
	rounds := 0
	for i := range pace(1500, 150) {
		where := []string{"work", "work+*", "run+*", "libc:usleep+*"}[i%4]
		id, err := s.Register(ProbeSpec{Location: where, Action: Action(i % 2)})
		if err == nil {
			err = s.Unregister(id)
		}
		if err == nil && i%100 == 50 {
			err = errors.Join(s.Interrupt(p.pid), s.Resume(p.pid))
		}
		if gone(err) { // a slow machine makes fewer rounds
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rounds++
	}
	if err := s.Unregister(whole); err != nil && !gone(err) {
		t.Error(err)
	}
	if rounds == 0 {
		t.Error("the program ended first")
	}
	out, status := p.end()
	if got := said(t, out, "calls"); got != 4*calls || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestStopAndSet holds tasks at a probe, looks at their registers and skips the
// function.
func TestStopAndSet(t *testing.T) {
	p := launch(t, "loop", "5")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work", Action: ActionStop, Args: make([]Arg, 1)})
	addr := s.Placements(id)[0].Addr
	p.goOn()
	isa := s.ISA()
	for i := range uint64(5) {
		e, at := poll[*event.Stopped](t, s)
		r, err := s.Registers(e.TID)
		if err != nil {
			t.Fatal(err)
		}
		arg, _ := isa.Arg(arch.C, &r, 0)
		if pc := r[isa.PCReg()]; pc != uint64(addr) || arg != i || at.Args[0] != i || at.Addr != addr {
			t.Errorf("hit %d: pc %#x, want %v, argument %d, event %+v", i, pc, addr, arg, at)
		}
		if err := s.SetRegisters(e.TID, r); err != nil { // what they are: nothing changes
			t.Error(err)
		}
		if tasks, err := s.Tasks(p.pid); err != nil || len(tasks) != 1 || !tasks[0].Stopped || tasks[0].PC != addr {
			t.Errorf("tasks %+v, %v", tasks, err)
		}
		if err := s.Resume(e.TID); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := p.end()
	if said(t, out, "sum") != 3*10+5 {
		t.Errorf("%q", out)
	}
}

// TestCallSkips changes an argument by a Func, and has another return at once.
func TestCallSkips(t *testing.T) {
	for _, skip := range []bool{false, true} {
		p := launch(t, "loop", "5")
		s := attach(t, p.pid)
		var fail error
		register(t, s, ProbeSpec{Location: "work", Action: ActionCall, Func: func(h Hit) {
			r := h.Registers()
			if !skip {
				r[argWord[s.ISA().Name()]] += 100
				h.SetRegisters(r)
				return
			}
			if s.ISA().Name() == "arm64" {
				r[0], r[32] = 7, r[30]
			} else {
				var ret [8]byte
				fail = h.ReadMemory(addrOf(r[s.ISA().SPReg()]), ret[:])
				r[10], r[16] = 7, binary.LittleEndian.Uint64(ret[:])
				r[s.ISA().SPReg()] += 8
			}
			h.SetRegisters(r)
		}})
		p.goOn()
		out, _ := p.end()
		<-s.Done() // Func is not called any more
		want := uint64(3*10 + 5 + 5*300)
		if skip {
			want = 35
		}
		if got := said(t, out, "sum"); got != want || fail != nil {
			t.Errorf("sum %d, want %d, %v", got, want, fail)
		}
	}
}

// argWord is the word of arch.Regs that holds the first argument.
var argWord = map[string]int{"amd64": 14, "arm64": 0}

// TestSlowConsumer lets events overflow: the program is not held up, and what
// was dropped is told.
func TestSlowConsumer(t *testing.T) {
	p := launch(t, "threads", "2", "300")
	s := attach(t, p.pid, Options{Buffer: 50})
	id := register(t, s, ProbeSpec{Location: "work", Action: ActionTell})
	p.goOn()
	p.end()
	<-s.Done()
	told, missed := uint64(0), uint64(0)
	for e := range s.Events(t.Context()) {
		switch b := e.Body.(type) {
		case *event.Hit:
			told++
		case *event.Dropped:
			missed += b.Count
		}
	}
	if told != 50 || told+missed != 600 || s.Hits(id) != 600 || s.Stats().Missed != missed {
		t.Errorf("%d told, %d missed, %d hits, %+v", told, missed, s.Hits(id), s.Stats())
	}
}

// TestAfterEnd asks a session that is over.
func TestAfterEnd(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	detach(t, s)
	if _, err := s.Register(ProbeSpec{Location: "work"}); !errors.Is(err, ErrEnded) {
		t.Errorf("Register: %v", err)
	}
	if err := s.AddProcess(p.pid); !errors.Is(err, ErrEnded) {
		t.Errorf("AddProcess: %v", err)
	}
	if _, err := s.Poll(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("Poll: %v", err)
	}
	if err := errors.Join(s.Detach(), s.Kill()); err != nil {
		t.Error(err)
	}
}

// TestPollContext ends a Poll by its context.
func TestPollContext(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestWrongRequests asks for what there is not.
func TestWrongRequests(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	for _, where := range []string{"", "nowhere", "work+100000", "*0x10", "*1", ":::", "libnothing:work", "work+x"} {
		if id, err := s.Register(ProbeSpec{Location: where}); err == nil {
			t.Errorf("%q is probe %d: %+v", where, id, s.Placements(id))
		}
	}
	_, tasks := s.Tasks(1)
	_, regs := s.Registers(p.pid)
	for what, err := range map[string]error{
		"Unregister": s.Unregister(77), "Interrupt": s.Interrupt(1), "Resume": s.Resume(1), "Tasks": tasks,
		"Registers": regs, "SetRegisters": s.SetRegisters(1, [34]uint64{}),
		"ReadMemory": s.ReadMemory(p.pid, 16, make([]byte, 8)), "WriteMemory": s.WriteMemory(p.pid, 16, make([]byte, 8)),
		"AddProcess": s.AddProcess(p.pid), "no Func": second(s.Register(ProbeSpec{Location: "work", Action: ActionCall})),
		"arguments": second(s.Register(ProbeSpec{Location: "work", Args: make([]Arg, 100)})),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.goOn()
	if out, status := p.end(); said(t, out, "sum") != 1 || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}

func second[T any](_ T, err error) error { return err }

// TestLibraries has probes planted in a library each time it is loaded.
func TestLibraries(t *testing.T) {
	plug := fixture.Path(t, "plug.so")
	p := launch(t, "host", plug, "4", "50")
	s := attach(t, p.pid, Options{Life: true})
	id := register(t, s, ProbeSpec{Location: "plug.so:plugged", Pending: true})
	all := register(t, s, ProbeSpec{Location: "plug.so:plugged+*", Pending: true})
	p.goOn()
	out, status := p.end()
	if status != 0 || said(t, out, "sum") != 4*(21+7*49*50/2) {
		t.Errorf("%q, status %d", out, status)
	}
	// 3 calls of the constructor and 50 of the program, each time
	if got := s.Hits(id); got != 4*53 {
		t.Errorf("%d hits, want %d", got, 4*53)
	}
	loads := map[event.Kind]int{}
	for e := range s.Events(t.Context()) {
		path := ""
		switch b := e.Body.(type) {
		case *event.Library:
			path = b.Path
		case *event.Unload:
			path = b.Path
		}
		if strings.HasSuffix(path, "plug.so") {
			loads[e.Kind()]++
		}
	}
	if fmt.Sprint(loads) != fmt.Sprint(map[event.Kind]int{event.KindLibrary: 4, event.KindUnload: 4}) {
		t.Errorf("told %v", loads)
	}
	_ = all
}

// TestTurns has more threads hit than there are CPUs, for ever: each of them gets
// its turn, and so do commands.
func TestTurns(t *testing.T) {
	const threads = 16
	p := launch(t, "threads", fmt.Sprint(threads), "1000000000")
	s := attach(t, p.pid)
	var mu sync.Mutex
	hits := map[int]int{}
	p.goOn()
	id := register(t, s, ProbeSpec{Location: "work", Action: ActionCall, Func: func(h Hit) {
		mu.Lock()
		hits[h.TID()]++
		mu.Unlock()
	}})
	until(t, "hits of each thread", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, h := range hits {
			if h >= 10 {
				n++
			}
		}
		return n == threads
	})
	for range 3 {
		if err := s.Unregister(id); err != nil {
			t.Fatal(err)
		}
		id = register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Slot})
		until(t, "hits", func() bool { return s.Hits(id) > 100 })
	}
	detach(t, s)
}

// TestUnregistered asks how a probe was served that is not there any more.
func TestUnregistered(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work"})
	was := s.Placements(id)
	if err := s.Unregister(id); err != nil {
		t.Fatal(err)
	}
	if now := s.Placements(id); len(now) != 1 || now[0] != was[0] {
		t.Errorf("%+v, was %+v", now, was)
	}
}
