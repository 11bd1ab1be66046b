package arbiter

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// TestNamesOfThePast has tracers ask for names after they have detached from a process: they get
// them if they may still trace the process, or if it has ended.
func TestNamesOfThePast(t *testing.T) {
	const allowed, gone, denied = 0, 1, 2
	var rights atomic.Int32
	setup := func(t *testing.T) (w *world, tr *Tracer) {
		w = newWorld(Options{})
		rights.Store(allowed)
		tr, err := w.Join(10, Identity{Name: "b", UID: 7, Allow: func(int) error {
			switch rights.Load() {
			case gone:
				return engine.ErrGone
			case denied:
				return errors.New("not yours")
			}
			return nil
		}}, engine.Options{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Detach() })
		return w, tr
	}
	detach := func(tr *Tracer) error { return tr.Detach() }
	remove := func(tr *Tracer) error { return tr.RemoveProcess(10) }
	for _, c := range []struct {
		name   string
		others bool // keep the process
		leave  func(*Tracer) error
		then   func(*testing.T, *world)
		rights int32
		want   bool
	}{
		{"detached", false, detach, nil, allowed, true},
		{"detached, shared", true, detach, nil, allowed, true},
		{"removed", false, remove, nil, allowed, true},
		{"removed, shared", true, remove, nil, allowed, true},
		{"ended meanwhile", false, detach, nil, gone, true},
		{"no right any more", false, detach, nil, denied, false},
		{"no right any more, shared", true, detach, nil, denied, false},
		{"another program", true, detach, func(t *testing.T, w *world) { seen[*event.Exec](t, w, func(f *fake) { f.exec(10) }) }, gone, false},
		{"the end", true, nil, func(t *testing.T, w *world) { w.of(10).exit(10, 0) }, denied, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, tr := setup(t)
			if c.others {
				join(t, w.Arbiter, 10, "other", engine.Options{Life: true})
			}
			if y, ok := tr.Symbolize(10, 0); !ok || y.Function != "work" {
				t.Errorf("while it is traced: %v %v", y, ok)
			}
			if c.leave != nil {
				if err := c.leave(tr); err != nil {
					t.Fatal(err)
				}
			}
			if c.then != nil {
				c.then(t, w)
			}
			if c.leave == nil {
				<-tr.Done()
			}
			rights.Store(c.rights)
			if y, ok := tr.Symbolize(10, 0); ok != c.want || ok && y.Function != "work" {
				t.Errorf("%v %v, want %v", y, ok, c.want)
			}
			if _, ok := tr.Symbolize(11, 0); ok {
				t.Error("told of a process that it never saw")
			}
		})
	}
}

// seen makes a session send an event that a tracer receives.
func seen[B event.Body](t *testing.T, w *world, does func(*fake)) {
	t.Helper()
	tr := join(t, w.Arbiter, 10, "witness", engine.Options{Life: true})
	does(w.of(10))
	next[B](t, tr)
}
