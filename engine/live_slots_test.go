package engine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestSlots has counts and sums of many threads, each in its own slot of the maps:
// also of more threads than there are slots, that come later or are there already, and of a child that can't be told from
// its parent by the pointer to its data.
func TestSlots(t *testing.T) {
	needsJumps(t)
	crowd, calls := pace(maps.Slots+100, 100), pace(200000, 20000)
	for _, c := range []struct {
		args  []string
		calls uint64
	}{
		{[]string{"many", "2", fmt.Sprint(calls)}, uint64(2 * calls)},
		{[]string{"many", "100", fmt.Sprint(calls / 100)}, uint64(calls)},
		{[]string{"many", fmt.Sprint(crowd), "300"}, uint64(300 * crowd)},
		{[]string{"there", "100", fmt.Sprint(calls / 100)}, uint64(calls)},
		{[]string{"there", fmt.Sprint(crowd), "300"}, uint64(300 * crowd)},
		{[]string{"shared", fmt.Sprint(calls)}, uint64(2 * calls)},
		{[]string{"alike", fmt.Sprint(calls)}, uint64(2 * calls)},
	} {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			p := launch(t, "slots", c.args...)
			s := attach(t, p.pid, Options{Follow: true})
			h := openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}})
			id := register(t, s, ProbeSpec{Location: "work", Handler: h})
			p.goOn()
			_, status := p.end()
			r, err := h.Result()
			if err != nil {
				t.Fatal(err)
			}
			if n := r.(*builtin.Histogram).Count; s.Hits(id) != c.calls || n != c.calls || status != 0 || s.Stats().Uncounted != 0 {
				t.Errorf("%d hits, %d values, %d uncounted; there were %d; status %d", s.Hits(id), n, s.Stats().Uncounted, c.calls, status)
			}
		})
	}
}

// TestAlike pairs calls with their ends of threads that have the same pointer: by
// their ids, which they ask for.
func TestAlike(t *testing.T) {
	needsJumps(t)
	calls := pace(100000, 10000)
	for _, how := range []string{"shared", "alike"} {
		p := launch(t, "slots", how, fmt.Sprint(calls))
		s := attach(t, p.pid, Options{Follow: true})
		h, err := s.OpenHandler(HandlerSpec{Name: "latency", Where: handler.Tracee})
		if errors.Is(err, errors.ErrUnsupported) && s.ISA().Name() == "arm64" {
			skip.Missing(t, "handlers with values for each CPU, in arm64 programs")
		} else if err != nil {
			t.Fatal(err)
		}
		id := register(t, s, ProbeSpec{Location: "work", Handler: h})
		p.goOn()
		_, status := p.end()
		r, err := h.Result()
		if err != nil {
			t.Fatal(err)
		}
		if l := r.(*builtin.Histogram); l.Count != uint64(2*calls) || l.Lost != 0 || status != 0 {
			t.Errorf("%s: %d hits, %d pairs, %d without; there were %d; status %d", how, s.Hits(id), l.Count, l.Lost, 2*calls, status)
		}
	}
}

// TestNoLines has programs with threads that have no pointer to their own data.
func TestNoLines(t *testing.T) {
	needsJumps(t)
	for _, c := range []struct {
		fixture, where string
		args           []string
		without        bool
	}{{"threads", "work", []string{"2", "1000"}, false}, {"threads-static", "work", []string{"2", "1000"}, false}, {"gowork", "main.work", []string{"2", "1000"}, true}} {
		t.Run(c.fixture, func(t *testing.T) {
			p := launch(t, c.fixture, c.args...)
			s := attach(t, p.pid)
			register(t, s, ProbeSpec{Location: c.where})
			local := s.(*session)
			if err := local.loop.Do(func() error {
				if space := local.loop.Procs[p.pid].Space; local.inproc.TakeThreadSlots() && jump.Enabled && space.ThreadSlotsChecked == (space.NoThreadSlots || c.without) {
					t.Errorf("checked %v, without %v", space.ThreadSlotsChecked, space.NoThreadSlots)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			p.goOn()
			p.end()
		})
	}
}

// TestSlotsOfForks has more children, one after the other, than there are slots: those
// of the dead are taken again, with a tracer and without.
func TestSlotsOfForks(t *testing.T) {
	needsJumps(t)
	children, calls := pace(maps.Slots+300, 20), uint64(3)
	args := []string{"fork", fmt.Sprint(children), fmt.Sprint(calls)}
	t.Run("resident", func(t *testing.T) {
		p := launch(t, "forker", args...)
		r := leave(t, p, "work")
		p.goOn()
		_, status := p.end()
		if hits := residentHits(t, r); hits != 2*calls*uint64(children) || status != 0 {
			t.Errorf("%d hits of %d children, status %d", hits, children, status)
		}
	})
	t.Run("followed", func(t *testing.T) {
		p := launch(t, "forker", args...)
		s := attach(t, p.pid, Options{Follow: true})
		id := register(t, s, ProbeSpec{Location: "work"})
		p.goOn()
		_, status := p.end()
		if hits := s.Hits(id); hits != 2*calls*uint64(children) || status != 0 || s.Stats().Uncounted != 0 {
			t.Errorf("%d hits of %d children, %d uncounted, status %d", hits, children, s.Stats().Uncounted, status)
		}
	})
}
