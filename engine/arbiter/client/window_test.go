package client

import (
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// TestWindow has a counter, a handler and a reporting probe at one place begin and end together,
// directly and through a server: they have the same hits.
func TestWindow(t *testing.T) {
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "loop", "1000000000", "100")
		p.goOn()
		s := attach(p.pid())
		hist, err := s.OpenHandler(engine.HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}})
		if err != nil {
			t.Fatal(err)
		}
		ids := []event.ProbeID{register(t, s, engine.ProbeSpec{Location: "work"})}
		until(t, "hits", func() bool { return s.Hits(ids[0]) > 20 })
		ids = append(ids, register(t, s, engine.ProbeSpec{Location: "work", Handler: hist, Held: true}),
			register(t, s, engine.ProbeSpec{Location: "work", Action: engine.ActionTell, Held: true}))
		begin, err := s.Begin(ids...)
		if err != nil || hist.Since() != begin {
			t.Fatalf("begin: %v; the histogram is since %d, not %d", err, hist.Since(), begin)
		}
		until(t, "hits", func() bool { return s.Hits(ids[2]) > 50 })
		end, err := s.Finish(ids...)
		if err != nil || end <= begin {
			t.Fatalf("finish: from %d to %d, %v", begin, end, err)
		}
		n := s.Hits(ids[0])
		r, err := hist.Result()
		if err != nil || n <= 50 || s.Hits(ids[1]) != n || s.Hits(ids[2]) != n || valuesOf(r) != n {
			t.Errorf("%d, %d, %d hits, %d values, %v", n, s.Hits(ids[1]), s.Hits(ids[2]), valuesOf(r), err)
		}
		if _, err := s.Finish(ids...); err != nil {
			t.Errorf("finish again: %v", err)
		}
	})
}

func valuesOf(r build.Result) uint64 {
	if h, ok := r.(*builtin.Histogram); ok {
		return h.Count
	}
	return 0
}
