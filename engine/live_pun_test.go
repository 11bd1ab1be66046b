package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/skip"
)

// needsPuns skips where each instruction has room for a jump.
func needsPuns(t *testing.T) {
	t.Helper()
	needsJumping(t)
	if hostISA().MinInst() == 4 {
		skip.Missing(t, "instructions shorter than a jump")
	}
}

// TestPuns counts every instruction of a function: as many hits as by traps, some
// of them by puns.
func TestPuns(t *testing.T) {
	needsPuns(t)
	count := func(rung breakpoint.Rung) (hits map[string]uint64, puns int) {
		p := launch(t, "calls", "3", "300")
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "run+*", Rung: rung})
		p.goOn()
		until(t, "hits", func() bool { return s.Hits(id) > 0 })
		out, status := p.end()
		if said(t, out, "calls") != 900 || status != 0 {
			t.Errorf("%q, status %d", out, status)
		}
		hits = map[string]uint64{}
		for _, pl := range s.Placements(id) {
			if hits[pl.Name] = pl.Hits; pl.Rung == breakpoint.Pun {
				puns++
			}
		}
		return hits, puns
	}
	want, _ := count(breakpoint.Slot)
	got, puns := count(breakpoint.Auto)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: %d hits, by traps %d", name, got[name], n)
		}
	}
	if puns == 0 || len(got) != len(want) {
		t.Errorf("%d puns among %d places, %d by traps", puns, len(got), len(want))
	}
	t.Logf("%d puns among %d places", puns, len(got))
}

// TestPunsClean detaches from puns, of returns of which both ways end in them.
func TestPunsClean(t *testing.T) {
	needsPuns(t)
	p := launch(t, "short", "3", "100000000000")
	text := textOf(t, p.pid)
	p.goOn()
	for range 5 {
		s := attach(t, p.pid)
		in, out := register(t, s, ProbeSpec{Location: "pick"}), register(t, s, ProbeSpec{Location: "pick%return"})
		if pl := s.Placements(out); len(pl) != 1 || pl[0].Rung != breakpoint.Pun {
			t.Fatalf("%+v", pl)
		}
		until(t, "hits", func() bool { return s.Hits(in) > 1000 && s.Hits(out) > 1000 })
		detach(t, s)
		isClean(t, p.pid, text, "0000000100000000") // glibc's own, for threads
	}
}

// TestPunsCount counts returns by puns: as many as calls. A child that is not followed
// has none of it.
func TestPunsCount(t *testing.T) {
	needsPuns(t)
	p := launch(t, "short", "2", "1000000")
	s := attach(t, p.pid)
	in, out := register(t, s, ProbeSpec{Location: "pick"}), register(t, s, ProbeSpec{Location: "pick%return"})
	p.goOn()
	want, _ := alone(t, "short", "2", "1000000")
	if got, status := p.end(); got != want || status != 0 || s.Hits(in) != 2000000 || s.Hits(out) != 2000000 {
		t.Errorf("%d calls, %d returns: %q, status %d, want %q", s.Hits(in), s.Hits(out), got, status, want)
	}
}

// TestPunsComeAndGo registers and unregisters probes of single instructions, at
// random, while threads run through them: what has room has it of its neighbours.
func TestPunsComeAndGo(t *testing.T) {
	needsPuns(t)
	args := []string{"3", "30000000"}
	want, _ := alone(t, "calls", args...)
	p := launch(t, "calls", args...)
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "run+*"})
	var names []string
	for _, pl := range s.Placements(id) {
		names = append(names, pl.Name)
	}
	if err := s.Unregister(id); err != nil {
		t.Fatal(err)
	}
	p.goOn()
	there, r, puns := map[string]event.ProbeID{}, rand.New(rand.NewPCG(1, 2)), 0
	for range 300 {
		name := names[r.IntN(len(names))]
		var err error
		if id, ok := there[name]; ok {
			delete(there, name)
			err = s.Unregister(id)
		} else if there[name], err = s.Register(ProbeSpec{Location: name}); err == nil {
			if pl := s.Placements(there[name]); len(pl) > 0 && pl[0].Rung == breakpoint.Pun {
				puns++
			}
		}
		if gone(err) { // a slow machine makes fewer rounds
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	detach(t, s)
	if out, status := p.end(); out != want || status != 0 {
		t.Errorf("probed: %q, status %d, want %q", out, status, want)
	}
	if puns == 0 {
		t.Error("no puns")
	}
	t.Logf("%d puns", puns)
}
