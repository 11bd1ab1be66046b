package arbiter

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// TestForget has a long-lived tracer register more probes than the arbiter may keep.
func TestForget(t *testing.T) {
	w := newWorld(Options{Quota: Quota{Probes: 2}})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	register(t, b, engine.ProbeSpec{Location: "b"})
	for i := range 50 {
		id := register(t, a, engine.ProbeSpec{Location: "work"})
		if err := a.Release(id); !errors.Is(err, errStillThere) {
			t.Errorf("of a probe that is there: %v", err)
		}
		w.of(10).hit(10, 10, "work")
		if err := a.Unregister(id); err != nil || a.Hits(id) != 1 {
			t.Errorf("%d hits: %v", a.Hits(id), err)
		}
		for range 2 {
			if err := a.Release(id); err != nil {
				t.Error(err)
			}
		}
		if n := w.of(10).forgotten; n != i+1 || a.Hits(id) != 0 {
			t.Errorf("%d of %d are forgotten", n, i+1)
		}
	}
	var last event.ProbeID
	for range everProbes * 2 {
		last = register(t, a, engine.ProbeSpec{Location: "work"})
		if err := a.Unregister(last); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Register(engine.ProbeSpec{Location: "work"}); !errors.Is(err, ErrQuota) {
		t.Errorf("more probes than are remembered: %v", err)
	}
	if err := a.Release(last); err != nil {
		t.Error(err)
	}
	register(t, a, engine.ProbeSpec{Location: "work"})
	if err := a.Release(1000); !errors.Is(err, engine.ErrNoProbe) {
		t.Errorf("of none: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if n := w.of(10).forgotten; n != 50+everProbes*2+1 {
		t.Errorf("%d probes are forgotten at a tracer's end", n)
	}
	if n := len(b.groups[0].owners); n != 1 {
		t.Errorf("%d probes are known", n)
	}
}
