package engine

import (
	"context"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// TestWindow has probes count from Begin to Finish: functions that are called equally
// often have numbers that differ by the calls under way at most, whenever each probe was
// planted; a handler has as many hits as a counter at the same place.
func TestWindow(t *testing.T) {
	const threads = 2
	for _, where := range []handler.Where{handler.Auto, handler.Engine} {
		t.Run(where.String(), func(t *testing.T) {
			p := launch(t, "calls", "2", "1000000000")
			p.goOn()
			s := attach(t, p.pid)
			step := register(t, s, ProbeSpec{Location: "step"})
			until(t, "hits before the window", func() bool { return s.Hits(step) > 100 })
			hist := openHandler(t, s, HandlerSpec{Name: "hist", Where: where, Params: builtin.Params{Exprs: []string{"arg0"}}})
			limited := openHandler(t, s, HandlerSpec{Name: "count", Where: where, Params: builtin.Params{Guards: builtin.Guards{Hits: 7}}})
			latency := openHandler(t, s, HandlerSpec{Name: "latency", Where: where})
			ids := []event.ProbeID{step, register(t, s, ProbeSpec{Location: "step", Handler: hist}),
				register(t, s, ProbeSpec{Location: "two", Handler: limited}), register(t, s, ProbeSpec{Location: "one", Handler: latency}),
				register(t, s, ProbeSpec{Location: "two"}), register(t, s, ProbeSpec{Location: "one"})}
			two, one := ids[4], ids[5]
			until(t, "the limit before the window", func() bool { return limited.Limits()[0].Done })

			begin, err := s.Begin(ids...)
			if err != nil || hist.Since() != begin {
				t.Fatalf("begin: %v; the histogram is since %d, not %d", err, hist.Since(), begin)
			}
			until(t, "hits", func() bool { return s.Hits(two) > 500 && limited.Limits()[0].Done })
			end, err := s.Finish(ids...)
			if err != nil || end <= begin {
				t.Fatalf("finish: from %d to %d, %v", begin, end, err)
			}

			n := s.Hits(step)
			apart := func(a, b uint64) bool { return a > b+3*threads || b > a+3*threads }
			if got := s.Hits(two); apart(3*got, n) { // a round has one of two, three of the others
				t.Errorf("two is hit %d times, step %d times", got, n)
			}
			if got := s.Hits(one); apart(got, n) {
				t.Errorf("one is hit %d times, step %d times", got, n)
			}
			if got := s.Hits(ids[1]); got != n {
				t.Errorf("the histogram's probe is hit %d times, the counter at its place %d times", got, n)
			}
			if got := result[*builtin.Histogram](t, hist).Count; got != n {
				t.Errorf("the histogram has %d values of %d hits", got, n)
			}
			if got := result[*builtin.Histogram](t, latency); apart(got.Count, s.Hits(one)) {
				t.Errorf("%d calls of one, of %d", got.Count, s.Hits(one))
			}
			if got := result[builtin.Counter](t, limited).Hits; got != 7 {
				t.Errorf("%d hits of a limit of 7", got)
			}
			// Nothing counts on: the program runs, as a later probe sees.
			later := register(t, s, ProbeSpec{Location: "two"})
			until(t, "hits of a later probe", func() bool { return s.Hits(later) > 100 })
			if got := s.Hits(step); got != n {
				t.Errorf("%d hits behind the window's end, %d at it", got, n)
			}
			if got := result[*builtin.Histogram](t, hist).Count; got != n {
				t.Errorf("%d values behind the window's end, %d at it", got, n)
			}
		})
	}
}

// TestHeld has probes that tell do so from Begin to Finish, and not before.
func TestHeld(t *testing.T) {
	p := launch(t, "calls", "1", "1000000000")
	p.goOn()
	s := attach(t, p.pid)
	count := register(t, s, ProbeSpec{Location: "two"})
	held := register(t, s, ProbeSpec{Location: "step", Action: ActionTell, Args: make([]Arg, 1), Held: true})
	until(t, "hits before the window", func() bool { return s.Hits(count) > 50 })
	if n := s.Hits(held); n != 0 {
		t.Errorf("%d hits of a probe that is held", n)
	}
	begin, err := s.Begin(held)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "hits", func() bool { return s.Hits(held) > 50 })
	end, err := s.Finish(held)
	if err != nil {
		t.Fatal(err)
	}
	want := s.Hits(held)
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	var told uint64
	for e := range s.Events(context.Background()) {
		if e.Kind() != event.KindHit {
			continue
		}
		if told++; e.Time < begin || e.Time > end {
			t.Fatalf("a hit at %v, the window is from 0 to %v", time.Duration(e.Time-begin), time.Duration(end-begin))
		}
	}
	if told != want {
		t.Errorf("%d hits told of %d", told, want)
	}
}
