package arbiter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// TestHolds: a task that two tracers have stopped is resumed when the last releases it.
func TestHolds(t *testing.T) {
	w := newWorld(Options{})
	a, b, c := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b"), join(t, w.Arbiter, 10, "c")
	register(t, a, engine.ProbeSpec{Location: "one", Action: engine.ActionStop})
	register(t, b, engine.ProbeSpec{Location: "one", Action: engine.ActionCall, Func: func(h engine.Hit) { h.Stop() }})
	f := w.of(10)
	f.hit(10, 11, "one")
	next[*event.Stopped](t, a)
	next[*event.Stopped](t, b)
	if err := c.Resume(11); !errors.Is(err, engine.ErrNotStopped) {
		t.Errorf("resumed by one who does not hold: %v", err)
	}
	if err := a.Resume(11); err != nil || f.running(11) {
		t.Errorf("%v, running %v: b holds it", err, f.running(11))
	}
	if err := c.Interrupt(10); err != nil {
		t.Error(err)
	}
	if err := b.Resume(10); err != nil || f.running(11) || f.running(10) {
		t.Errorf("%v, running %v: c holds it", err, f.running(11))
	}
	if e, at := next[*event.Stopped](t, c); at.Probe != 0 || e.PID != 10 {
		t.Errorf("told %+v of process %d", at, e.PID)
	}
	if holds := c.Info().Holds; len(holds) != 2 || holds[1].TID != 11 {
		t.Errorf("holds %v", holds)
	}
	if err := c.Detach(); err != nil || !f.running(11) || !f.running(10) {
		t.Errorf("%v, running %v: nobody holds it", err, f.running(11))
	}
}

// TestHoldEnds: a tracer that hangs loses its hold, and is named.
func TestHoldEnds(t *testing.T) {
	w := newWorld(Options{HoldLimit: time.Millisecond})
	a, b := join(t, w.Arbiter, 10, "sleepy"), join(t, w.Arbiter, 10, "b")
	register(t, a, engine.ProbeSpec{Location: "one", Action: engine.ActionStop})
	w.of(10).hit(10, 10, "one")
	if _, b := next[*event.Warning](t, b); !strings.Contains(b.Text, "sleepy (process 1) has held task 10 for 1ms") || !w.of(10).running(10) {
		t.Errorf("told %q, running %v", b.Text, w.of(10).running(10))
	}
	w.of(10).hit(10, 10, "one") // this tracer is known to be asleep
	if _, h := next[*event.Hit](t, a); h.Location != "one" || !w.of(10).running(10) || !a.Info().Late {
		t.Errorf("told %+v, running %v, %+v", h, w.of(10).running(10), a.Info())
	}
	_ = a.Resume(10) // it has woken up
	w.of(10).hit(10, 10, "one")
	next[*event.Warning](t, b)
	if n := a.Hits(1); n != 3 {
		t.Errorf("%d hits", n)
	}
}

// TestHoldOne stops one task, and resumes the first task of a process alone.
func TestHoldOne(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	f := w.of(10)
	if err := a.InterruptTask(11); err != nil || f.running(11) || !f.running(10) {
		t.Errorf("%v, running %v, %v", err, f.running(10), f.running(11))
	}
	if e, _ := next[*event.Stopped](t, a); e.TID != 11 || e.PID != 10 {
		t.Errorf("told %+v", e)
	}
	if err := b.Interrupt(10); err != nil {
		t.Error(err)
	}
	if err := b.ResumeTask(10); err != nil || !f.running(10) || f.running(11) {
		t.Errorf("%v, running %v, %v", err, f.running(10), f.running(11))
	}
	if err := b.ResumeTask(10); !errors.Is(err, engine.ErrNotStopped) {
		t.Errorf("resumed what it does not hold: %v", err)
	}
	if err := errors.Join(a.Resume(11), b.Resume(11)); err != nil || !f.running(11) {
		t.Errorf("%v, running %v", err, f.running(11))
	}
	if err := a.InterruptTask(99); !errors.Is(err, engine.ErrGone) {
		t.Errorf("another's: %v", err)
	}
}

// TestHoldBusy stops a process with a task that can't be stopped in time: that task is released
// with the others.
func TestHoldBusy(t *testing.T) {
	w := newWorld(Options{})
	a := join(t, w.Arbiter, 10, "a")
	f := w.of(10)
	f.busy[11] = true
	if err := a.Interrupt(10); !errors.Is(err, errFakeBusy) || len(a.Info().Holds) != 2 {
		t.Errorf("%v, holds %v", err, a.Info().Holds)
	}
	if err := a.Resume(10); err != nil || f.busy[11] || !f.running(10) {
		t.Errorf("%v, busy %v, running %v", err, f.busy[11], f.running(10))
	}
}

// TestHoldAside steps aside from a process: a tracer that holds a task of it prevents that, and
// holds end when the process is gone.
func TestHoldAside(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	if err := errors.Join(a.Interrupt(10), b.InterruptTask(11)); err != nil {
		t.Fatal(err)
	}
	if err := a.StepAside(10, time.Second); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "b (process 1)") {
		t.Errorf("held by b: %v", err)
	}
	if err := errors.Join(b.Resume(11), a.StepAside(10, time.Second)); err != nil {
		t.Error(err)
	}
	for _, tr := range []*Tracer{a, b} {
		if e, _ := next[*event.Released](t, tr); e.PID != 10 || len(tr.Info().Holds) != 0 {
			t.Errorf("told %+v, holds %v", e, tr.Info().Holds)
		}
	}
}
