package arbiter

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// control asks for control for an hour.
func control(t *testing.T, tr *Tracer, ask Ask) error {
	t.Helper()
	return tr.Control(t.Context(), 10, ask)
}

// TestControl has one tracer write at a time: registers, memory, signals, steps.
func TestControl(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	writes := map[string]func(*Tracer) error{
		"memory":    func(tr *Tracer) error { return tr.WriteMemory(10, 0, nil) },
		"registers": func(tr *Tracer) error { return tr.SetRegisters(11, arch.Regs{}) },
		"signal":    func(tr *Tracer) error { return tr.Signal(10, 1) },
		"thread":    func(tr *Tracer) error { return tr.Signal(11, 1) },
		"drop":      func(tr *Tracer) error { return tr.DropSignal(11) },
		"step":      func(tr *Tracer) error { return tr.Step(11) },
	}
	if err := a.InterruptTask(11); err != nil {
		t.Fatal(err)
	}
	if err := control(t, a, Ask{}); err != nil {
		t.Fatal(err)
	}
	for what, write := range writes {
		if err := write(b); !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), "a (process 1), until") {
			t.Errorf("b: %s: %v", what, err)
		}
		if err := write(a); err != nil {
			t.Errorf("a: %s: %v", what, err)
		}
	}
	if c := a.Info().Controls; len(c) != 1 || c[0].PID != 10 || !c[0].Asked {
		t.Errorf("controls %v", c)
	}
	if err := a.Yield(10); err != nil {
		t.Error(err)
	}
	if err := writes["memory"](b); err != nil || len(b.Info().Controls) != 0 {
		t.Errorf("%v, controls %v", err, b.Info().Controls)
	}
}

// TestImplicit: a write takes control for as long as its tracer holds a task.
func TestImplicit(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	if err := errors.Join(a.Interrupt(10), b.Interrupt(10)); err != nil {
		t.Fatal(err)
	}
	if err := a.SetRegisters(11, arch.Regs{1}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetRegisters(11, arch.Regs{2}); !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), "until it lets go") {
		t.Errorf("b: %v", err)
	}
	if r, err := b.Registers(11); err != nil || r[0] != 1 {
		t.Errorf("b reads %v, %v", r[0], err)
	}
	if err := errors.Join(a.Resume(10), b.SetRegisters(11, arch.Regs{2})); err != nil {
		t.Errorf("a has let go: %v", err)
	}
	if err := a.WriteMemory(10, 0, nil); !errors.Is(err, ErrControl) {
		t.Errorf("a: %v", err)
	}
	if err := errors.Join(b.Detach(), a.WriteMemory(10, 0, nil)); err != nil {
		t.Errorf("b is gone: %v", err)
	}
}

// TestPassed passes control on to the waiters, in their order, and tells the holder which tracer
// asks.
func TestPassed(t *testing.T) {
	w := newWorld(Options{})
	a, b, c := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b"), join(t, w.Arbiter, 10, "c")
	if err := control(t, a, Ask{}); err != nil {
		t.Fatal(err)
	}
	if err := control(t, b, Ask{}); !errors.Is(err, ErrControl) {
		t.Errorf("b has it: %v", err)
	}
	if e, b := next[*event.ControlRequested](t, a); e.PID != 10 || !strings.Contains(b.Text, "b (process 1) asks") {
		t.Errorf("told %q of process %d", b.Text, e.PID)
	}
	if err := control(t, b, Ask{Wait: time.Millisecond}); !errors.Is(err, ErrControl) {
		t.Errorf("b has it: %v", err)
	}
	next[*event.ControlRequested](t, a)
	got := make(chan string, 2)
	for _, tr := range []*Tracer{b, c} {
		go func() {
			if err := control(t, tr, Ask{Wait: time.Minute}); err != nil {
				got <- err.Error()
				return
			}
			got <- tr.id.Name
		}()
		next[*event.ControlRequested](t, a)
	}
	if i := a.Info().Controls[0]; i.Waiting != 2 {
		t.Errorf("%+v", i)
	}
	for _, step := range []struct {
		by   *Tracer
		want string
	}{{a, "b"}, {b, "c"}} {
		if err := step.by.Yield(10); err != nil {
			t.Error(err)
		}
		if name := <-got; name != step.want {
			t.Errorf("passed on to %s, want %s", name, step.want)
		}
	}
	if err := b.WriteMemory(10, 0, nil); !errors.Is(err, ErrControl) {
		t.Errorf("b wrote: %v", err)
	}
	go func() { got <- control(t, a, Ask{Wait: time.Minute}).Error() }()
	next[*event.ControlRequested](t, c)
	_ = a.Detach() // this waits
	if text := <-got; !strings.Contains(text, "c (process 1)") {
		t.Errorf("told %q", text)
	}
}

// TestForced takes over control, which another user may not do.
func TestForced(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	other, err := w.Join(10, Identity{Name: "other", UID: 2}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.Join(10, Identity{Name: "root"}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(other.Detach(), root.Detach()) }()
	if err := errors.Join(control(t, a, Ask{}), control(t, b, Ask{Force: true})); err != nil {
		t.Fatal(err)
	}
	if _, w := next[*event.Warning](t, a); !strings.Contains(w.Text, "b (process 1) has taken control") {
		t.Errorf("told %q", w.Text)
	}
	if err := a.WriteMemory(10, 0, nil); !errors.Is(err, ErrControl) {
		t.Errorf("a wrote: %v", err)
	}
	if err := control(t, other, Ask{Force: true}); !errors.Is(err, ErrControl) {
		t.Errorf("another user has it: %v", err)
	}
	if err := control(t, root, Ask{Force: true}); err != nil {
		t.Error(err)
	}
}

// TestLapse has control end with its time.
func TestLapse(t *testing.T) {
	w := newWorld(Options{ControlLimit: time.Millisecond})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	if err := control(t, a, Ask{Time: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, w := next[*event.Warning](t, a); !strings.Contains(w.Text, "is over") {
		t.Errorf("told %q", w.Text)
	}
	if err := b.WriteMemory(10, 0, nil); err != nil {
		t.Error(err)
	}
}

// writer is a handler that writes.
type writer struct{ engine.Handler }

func (writer) Info() engine.HandlerInfo { return engine.HandlerInfo{Name: "writer", Writes: true} }
func (writer) Close() error             { return nil }

func (f *fake) OpenHandler(engine.HandlerSpec) (engine.Handler, error) { return writer{}, nil }

// TestWriters: a handler that writes takes control by itself.
func TestWriters(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	h, err := a.OpenHandler(engine.HandlerSpec{})
	if err != nil {
		t.Fatal(err)
	}
	p := register(t, a, engine.ProbeSpec{Location: "one", Handler: h})
	if err := b.WriteMemory(10, 0, nil); !errors.Is(err, ErrControl) {
		t.Errorf("b wrote: %v", err)
	}
	hb, err := b.OpenHandler(engine.HandlerSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Register(engine.ProbeSpec{Location: "one", Handler: hb}); !errors.Is(err, ErrControl) {
		t.Errorf("b has a handler that writes: %v", err)
	}
	if _, err := b.Register(engine.ProbeSpec{Location: "one", Handler: h}); !errors.Is(err, engine.ErrHandler) {
		t.Errorf("b has another's handler: %v", err)
	}
	if err := a.Unregister(p); err != nil {
		t.Error(err)
	}
	if err := b.WriteMemory(10, 0, nil); err != nil {
		t.Errorf("the handler is gone: %v", err)
	}
	q := register(t, a, engine.ProbeSpec{Location: "one", Handler: h})
	f := w.of(10)
	f.hit(10, 10, "one")
	if err := control(t, b, Ask{Force: true}); err != nil {
		t.Error(err)
	}
	f.hit(10, 10, "one")
	if a.Hits(q) != 1 {
		t.Errorf("%d hits, want 1: it went with control", a.Hits(q))
	}
	if _, w := next[*event.Warning](t, a); !strings.Contains(w.Text, "taken control") {
		t.Errorf("told %q", w.Text)
	}
	if _, w := next[*event.Warning](t, a); !strings.Contains(w.Text, "the handler of one writes") {
		t.Errorf("told %q", w.Text)
	}
}

// TestWritersStay has a handler that writes keep control until another tracer asks.
func TestWritersStay(t *testing.T) {
	w := newWorld(Options{ControlLimit: time.Millisecond})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	h, err := a.OpenHandler(engine.HandlerSpec{})
	if err != nil {
		t.Fatal(err)
	}
	p := register(t, a, engine.ProbeSpec{Location: "one", Handler: h})
	for until := time.Now().Add(20 * time.Millisecond); time.Now().Before(until); {
		if len(a.Info().Controls) != 1 {
			t.Fatal("nobody has asked, and it is gone")
		}
	}
	if err := control(t, b, Ask{Wait: 10 * time.Second}); err != nil {
		t.Error(err)
	}
	w.of(10).hit(10, 10, "one")
	if a.Hits(p) != 0 {
		t.Errorf("%d hits", a.Hits(p))
	}
}

// TestSameResult has two Funcs change what a function returns: the first change counts, and the
// second tracer is told.
func TestSameResult(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	for i, tr := range []*Tracer{a, b} {
		register(t, tr, engine.ProbeSpec{Location: "one", Action: engine.ActionCall, Func: func(h engine.Hit) { h.SetRegisters(arch.Regs{uint64(i + 1)}) }})
	}
	f := w.of(10)
	for range 2 {
		f.hit(10, 10, "one")
		if r, _ := f.Registers(10); r[0] != 1 {
			t.Errorf("returns %d", r[0])
		}
		if _, w := next[*event.Warning](t, b); !strings.Contains(w.Text, "a (process 1) has changed its registers") {
			t.Errorf("told %q", w.Text)
		}
	}
}

// TestConflicts are the conflicts without a test of their own.
func TestConflicts(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	f := w.of(10)
	t.Run("two step", func(t *testing.T) {
		if err := errors.Join(a.InterruptTask(11), b.InterruptTask(11)); err != nil {
			t.Fatal(err)
		}
		for _, tr := range []*Tracer{a, b} {
			if err := tr.Step(11); !errors.Is(err, ErrHeld) {
				t.Errorf("stepped: %v", err)
			}
		}
		if err := errors.Join(b.Resume(11), a.Step(11)); err != nil || f.running(11) {
			t.Errorf("%v, running %v", err, f.running(11))
		}
		if err := b.Step(11); err == nil {
			t.Error("stepped what it does not hold")
		}
		_ = a.Resume(11)
	})
	t.Run("one kills", func(t *testing.T) {
		if err := a.Signal(10, int(syscall.SIGKILL)); err != nil {
			t.Error(err)
		}
		if _, w := next[*event.Warning](t, b); !strings.Contains(w.Text, "a (process 1) ends process 10") {
			t.Errorf("told %q", w.Text)
		}
	})
	t.Run("watchpoints", func(t *testing.T) {
		watch := engine.ProbeSpec{Location: "*1", Rung: breakpoint.Hardware}
		for i := range 4 {
			register(t, []*Tracer{a, b}[i/3], watch)
		}
		if _, err := a.Register(watch); !errors.Is(err, engine.ErrDebug) || !strings.Contains(err.Error(), "by a (process 1), b (process 1)") {
			t.Errorf("a fifth: %v", err)
		}
		if err := b.Unregister(1); err != nil {
			t.Error(err)
		}
		register(t, a, watch)
	})
}
