package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/watch"
)

// TestHardware counts by debug registers, in threads that are there and that
// come later, without a byte of code changed.
func TestHardware(t *testing.T) {
	p := launch(t, "threads", "6", "100")
	s := attach(t, p.pid)
	text := textOf(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Hardware})
	for path, was := range text {
		if now := textOf(t, p.pid)[path]; now != was && path != "" && path != "[vdso]" && !bytes.Contains([]byte(path), []byte("lib")) {
			t.Errorf("%s: text is changed", path)
		}
	}
	p.goOn()
	out, _ := p.end()
	if got, want := s.Hits(id), said(t, out, "calls"); got != want {
		t.Errorf("%d hits, %d calls", got, want)
	}
}

// TestHardwareFull has more probes than there are debug registers: an error,
// and those that fit go on.
func TestHardwareFull(t *testing.T) {
	p := launch(t, "hot", "sha256", "2")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "sha256", Rung: breakpoint.Hardware})
	if _, err := s.Register(ProbeSpec{Location: "sha256+*", Rung: breakpoint.Hardware}); !errors.Is(err, watch.ErrDebug) {
		t.Errorf("error %v", err)
	}
	more := register(t, s, ProbeSpec{Location: "compare", Rung: breakpoint.Hardware})
	if err := s.Unregister(more); err != nil {
		t.Error(err)
	}
	p.goOn()
	out, _ := p.end()
	if got, want := s.Hits(id), said(t, out, "calls"); got != want {
		t.Errorf("%d hits, %d calls", got, want)
	}
}

// TestForeignFull has another tool's traps at more places than there are debug registers. The error
// says what is in the way.
func TestForeignFull(t *testing.T) {
	p := launch(t, "hot", "sha256", "2")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "sha256+*", Rung: breakpoint.Slot})
	const many = 20 // CPUs have 4 to 16
	places := s.Placements(id)
	if err := s.Unregister(id); err != nil {
		t.Fatal(err)
	}
	space := s.(*session).loop.Procs[p.pid].Space
	for _, pl := range places[:many] {
		if err := s.(*session).loop.Do(func() error { return space.Memory.Write(pl.Addr, hostISA().Trap()) }); err != nil {
			t.Fatal(err)
		}
	}
	id = register(t, s, ProbeSpec{Location: "sha256+*"})
	full := 0
	for _, pl := range s.Placements(id)[:many] {
		if errors.Is(pl.Err, watch.ErrDebug) && errors.Is(pl.Err, breakpoint.ErrForeign) {
			full++
		} else if pl.Err != nil || pl.Rung != breakpoint.Hardware {
			t.Errorf("%+v", pl)
		}
	}
	if full == 0 {
		t.Error("nothing is in the way")
	}
}

// TestHardwareCleared detaches while debug registers are set: no trap comes
// any more.
func TestHardwareCleared(t *testing.T) {
	p := launch(t, "threads", "4", "3000", "50000")
	s := attach(t, p.pid)
	register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Hardware, Action: ActionTell})
	p.goOn()
	poll[*event.Hit](t, s)
	detach(t, s)
	if caught, err := guard.CatchesTrap(p.pid); caught || err != nil {
		t.Errorf("SIGTRAP caught: %v, %v", caught, err)
	}
	if out, status := p.end(); status != 0 || said(t, out, "calls") != 12000 {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestWatch waits for writes to and accesses of data.
func TestWatch(t *testing.T) {
	for access, least := range map[Access]uint64{AccessWrite: 20, AccessReadWrite: 20} {
		t.Run(fmt.Sprint(access), func(t *testing.T) {
			p := launch(t, "storm", "plain", "20", "0")
			s := attach(t, p.pid)
			// The address of the counter is work's first argument.
			var addr arch.Addr
			register(t, s, ProbeSpec{Location: "work", Action: ActionStop, Args: make([]Arg, 1)})
			p.goOn()
			_, at := poll[*event.Stopped](t, s)
			addr = arch.Addr(at.Args[0])
			watch := register(t, s, ProbeSpec{Location: "*" + addr.String(), Rung: breakpoint.Hardware, Watch: access, Len: 8})
			if err := s.Unregister(at.Probe); err != nil {
				t.Error(err)
			}
			if err := s.Resume(p.pid); err != nil {
				t.Error(err)
			}
			out, status := p.end()
			if got := s.Hits(watch); got < least || got > 5*least || status != 0 || said(t, out, "calls") != 20 {
				t.Errorf("%d hits, %q, status %d", got, out, status)
			}
		})
	}
}

// TestHardwareExits has debug registers at exits: one that is a conditional jump counts
// where it leaves the function, and handlers run there.
func TestHardwareExits(t *testing.T) {
	p := launch(t, "truth-asm", "6")
	s := attach(t, p.pid)
	left := register(t, s, ProbeSpec{Location: "spin%return", Rung: breakpoint.Hardware})
	h, err := s.OpenHandler(HandlerSpec{Name: "hist", Where: handler.Engine, Params: builtin.Params{Exprs: []string{"ret"}}})
	if err != nil {
		t.Fatal(err)
	}
	register(t, s, ProbeSpec{Location: "small", Rung: breakpoint.Hardware, Handler: h})
	p.goOn()
	out, _ := p.end()
	if got, want := s.Hits(left), uint64(strings.Count(out, "call spin ")); got != want {
		t.Errorf("%d hits of the exit of spin, %d calls", got, want)
	}
	r, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.(*builtin.Histogram).Count, uint64(strings.Count(out, "call small ")); got != want {
		t.Errorf("%d results of small, %d calls", got, want)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestHardwareSignals has signals come where a debug register has just been hit. A task that comes
// back to the place does not hit again, neither from a handler nor from what Go's runtime puts in
// front of it (preemption).
func TestHardwareSignals(t *testing.T) {
	for _, c := range []struct{ fixture, args, location, calls string }{
		{"truth-go", pace("200", "20") + " 1 3", "main.fact", "call fact "},
		{"storm", "plain " + pace("3000 300", "200 10000"), "work", ""},
		{"storm", "altstack " + pace("3000 300", "200 10000"), "work", ""},
	} {
		t.Run(c.fixture+" "+c.args, func(t *testing.T) {
			p := launch(t, c.fixture, strings.Fields(c.args)...)
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: c.location, Rung: breakpoint.Hardware})
			p.goOn()
			out, status := p.end()
			want := uint64(strings.Count(out, c.calls))
			if c.calls == "" {
				want = said(t, out, "calls")
			}
			if got := s.Hits(id); got != want || status != 0 {
				t.Errorf("%d hits, %d calls, status %d", got, want, status)
			}
		})
	}
}
