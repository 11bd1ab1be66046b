package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/jump"
)

// TestForget has a session that lasts while probes and handlers come and go: what
// they have had serves others, and each counts its own hits only.
func TestForget(t *testing.T) {
	rounds := pace(150, 20)
	p := launch(t, "threads", "1", "1000000000", "1")
	s := attach(t, p.pid)
	always := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	interrupt := func() {
		if err := s.Interrupt(p.pid); err != nil {
			t.Fatal(err)
		}
	}
	var maps []int
	for i := range rounds {
		interrupt()
		h := openHandler(t, s, HandlerSpec{Name: "latency"})
		id := register(t, s, ProbeSpec{Location: "work", Handler: h})
		count := register(t, s, ProbeSpec{Location: "work"})
		before, rung := s.Hits(always), s.Placements(count)[0]
		if err := s.Release(count); !errors.Is(err, errStillThere) {
			t.Fatal(err)
		}
		if err := s.Resume(p.pid); err != nil {
			t.Fatal(err)
		}
		until(t, "hits", func() bool { return s.Hits(always) > before+20 })
		interrupt()
		// A task may have been stopped between two counters.
		if n, want := s.Hits(count), s.Hits(always)-before; n > want+1 || want > n+1 {
			t.Fatalf("round %d: %d hits of %d", i, n, want)
		}
		if jump.Enabled && !isJump(rung.Rung) {
			t.Fatalf("round %d: %v: %s", i, rung.Rung, rung.Reason)
		}
		s.(*session).look(func() {
			if c := s.(*session).plant.Probes[count-1].Places[0].Counter.In; jump.Enabled && (c == nil || c.N > 8) {
				t.Errorf("round %d: counter %d", i, c.N)
			}
		})
		for _, id := range []event.ProbeID{id, count} {
			if err := errors.Join(s.Unregister(id), s.Release(id)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(h.Close(), s.Resume(p.pid)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, bytes.Count(text, []byte("\n")))
	}
	if got, most := maps[rounds-1], maps[0]+rounds; got > most {
		t.Errorf("%d mappings, at first %d", got, maps[0])
	}
}
