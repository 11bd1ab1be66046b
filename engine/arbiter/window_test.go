package arbiter

import (
	"testing"

	"github.com/ptracer/ptracer/engine"
)

// TestWindow has one tracer's probes begin and end: another's at the same place continue to count,
// and hits without a count are those since each began.
func TestWindow(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	a1, b1 := register(t, a, engine.ProbeSpec{Location: "one"}), register(t, b, engine.ProbeSpec{Location: "one"})
	f := w.of(10)
	f.uncounted.Store(5)
	f.hit(10, 10, "one")
	if _, err := a.Begin(a1); err != nil {
		t.Fatal(err)
	}
	f.hit(10, 10, "one")
	f.uncounted.Store(7)
	if a.Hits(a1) != 1 || b.Hits(b1) != 2 || a.Stats().Uncounted != 2 || b.Stats().Uncounted != 7 {
		t.Errorf("%d and %d hits, %d and %d in no count", a.Hits(a1), b.Hits(b1), a.Stats().Uncounted, b.Stats().Uncounted)
	}
	if _, err := a.Finish(a1); err != nil {
		t.Fatal(err)
	}
	if !f.probes[0].gone || f.probes[1].gone {
		t.Errorf("gone: %v, %v", f.probes[0].gone, f.probes[1].gone)
	}
	if _, err := a.Begin(99); err == nil {
		t.Error("a probe that is not there begins")
	}
}
