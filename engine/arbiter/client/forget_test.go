package client

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
)

// TestNothingLeft has tracers join and leave a process that another keeps: nothing of them is kept.
func TestNothingLeft(t *testing.T) {
	const tracers = 30
	p := launch(t, "threads", "1", "1000000000", "1")
	a := arbiter.New(arbiter.Options{})
	joined := func() *arbiter.Tracer {
		tr, err := a.Join(p.pid(), arbiter.Identity{Allow: func(int) error { return nil }}, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	joined()
	p.goOn()
	var gone atomic.Int64
	for range tracers {
		tr := joined()
		runtime.AddCleanup(tr, func(int) { gone.Add(1) }, 0)
		h, err := tr.OpenHandler(engine.HandlerSpec{Name: "latency"})
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []engine.ProbeSpec{{Location: "work", Handler: h}, {Location: "work", Action: engine.ActionTell}, {Location: "libc:usleep"}} {
			if _, err := tr.Register(spec); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	until(t, "tracers that are gone are forgotten", func() bool {
		runtime.GC()
		return gone.Load() >= tracers-1 // the last may be in a register or on a stack
	})
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
