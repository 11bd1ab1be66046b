package engine

import (
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
)

// TestRelay counts calls of a function that has room for a short jump only: as many
// as there are. A child that is not followed has none of it.
func TestRelay(t *testing.T) {
	needsPuns(t)
	args := []string{"2", "1000000"}
	want, _ := alone(t, "short", args...)
	p := launch(t, "short", args...)
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "hop"})
	if pl := s.Placements(id); len(pl) != 1 || pl[0].Rung != breakpoint.Jump {
		t.Fatalf("%+v", pl)
	}
	p.goOn()
	if got, status := p.end(); got != want || status != 0 || s.Hits(id) != 2000000 {
		t.Errorf("%d calls: %q, status %d, want %q", s.Hits(id), got, status, want)
	}
}

// TestRelayClean comes and goes while threads run through it, and leaves the
// padding as it was.
func TestRelayClean(t *testing.T) {
	needsPuns(t)
	p := launch(t, "short", "3", "100000000000")
	text := textOf(t, p.pid)
	p.goOn()
	for range 5 {
		s := attach(t, p.pid)
		for range 20 {
			id := register(t, s, ProbeSpec{Location: "hop"})
			if pl := s.Placements(id); len(pl) != 1 || pl[0].Rung != breakpoint.Jump {
				t.Fatalf("%+v", pl)
			}
			until(t, "hits", func() bool { return s.Hits(id) > 1000 })
			if err := s.Unregister(id); err != nil {
				t.Fatal(err)
			}
		}
		register(t, s, ProbeSpec{Location: "hop"})
		detach(t, s)
		clean(t, p.pid, text, "0000000100000000") // glibc's own, for threads
	}
}
