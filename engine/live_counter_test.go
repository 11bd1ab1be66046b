package engine

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestSharedCounter has probes come to a site and leave it while its program runs:
// each counts what was hit while it was there, though they share a counter.
func TestSharedCounter(t *testing.T) {
	p := launch(t, "threads", "3", "1000000000", "1")
	s := attach(t, p.pid)
	always := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	type joined struct {
		id      event.ProbeID
		at, had uint64 // what always had counted, and what this one had when it left
	}
	var in, out []joined
	rounds := pace(60, 12)
	for i := range rounds {
		before := s.Hits(always)
		until(t, "hits", func() bool { return s.Hits(always) > before+20 })
		if err := s.Interrupt(p.pid); err != nil {
			t.Fatal(err)
		}
		all := s.Hits(always)
		for _, j := range in {
			if got := s.Hits(j.id); got != all-j.at {
				t.Errorf("round %d: probe %d has counted %d of %d", i, j.id, got, all-j.at)
			}
		}
		if i%5 < 3 || len(in) == 0 {
			spec := ProbeSpec{Location: "work"}
			if i%15 == 0 {
				spec.Action = ActionTell // all are at a trap as long as it is there
			}
			in = append(in, joined{id: register(t, s, spec), at: all})
		} else {
			j := in[i%len(in)]
			in = append(in[:i%len(in)], in[i%len(in)+1:]...)
			if j.had = all - j.at; s.Unregister(j.id) != nil || i%2 == 0 && s.Release(j.id) != nil {
				t.Fatal("it can't be taken away")
			} else if i%2 != 0 {
				out = append(out, j)
			}
		}
		sameCounter(t, s, always)
		if err := s.Resume(p.pid); err != nil {
			t.Fatal(err)
		}
	}
	for _, j := range out {
		if got := s.Hits(j.id); got != j.had {
			t.Errorf("probe %d, which has left with %d hits, has %d", j.id, j.had, got)
		}
	}
}

// sameCounter checks that all probes of a site that is a jump share a counter.
func sameCounter(t *testing.T, s Session, id event.ProbeID) {
	t.Helper()
	s.(*session).look(func() {
		pl := s.(*session).plant.Probes[id-1].Places[0]
		for _, other := range probe.Of(pl.Site).List {
			if pl.Site.Jumps() && other.Counter.In != pl.Counter.In {
				t.Errorf("probe %d has counter %d, probe %d %d", id, pl.Counter.In.N, other.Probe.ID, other.Counter.In.N)
			}
		}
	})
}

// TestForkedCounter has probes come to a process while its forked child, which they
// are not for, adds to the counter of those that were there before.
func TestForkedCounter(t *testing.T) {
	p := launch(t, "forker", "fork", "1", "1000000000000")
	s := attach(t, p.pid, Options{Follow: true})
	both := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	child := 0
	until(t, "a child that has hit", func() bool {
		for _, pid := range s.Processes() {
			if pid != p.pid {
				child = pid
			}
		}
		return child != 0 && s.Hits(both) > 0
	})
	if err := errors.Join(s.Interrupt(p.pid), s.Interrupt(child)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
	jump := isJump(s.Placements(both)[0].Rung)
	first := register(t, s, ProbeSpec{Location: "work", PID: p.pid, Alone: true})
	second := register(t, s, ProbeSpec{Location: "work", PID: p.pid, Alone: true})
	before := s.Hits(both)
	if err := s.Resume(child); err != nil {
		t.Fatal(err)
	}
	until(t, "hits of the child", func() bool { return s.Hits(both) > before+100 })
	if a, b := s.Hits(first), s.Hits(second); a != 0 || b != 0 {
		t.Errorf("%d, %d hits of the parent, which stands", a, b)
	}
	if err := s.Interrupt(child); err != nil {
		t.Fatal(err)
	}
	before = s.Hits(both)
	if err := s.Resume(p.pid); err != nil {
		t.Fatal(err)
	}
	until(t, "hits of the parent", func() bool { return s.Hits(both) > before+100 })
	if err := s.Interrupt(p.pid); err != nil {
		t.Fatal(err)
	}
	if a, b, want := s.Hits(first), s.Hits(second), s.Hits(both)-before; a != want || b != want {
		t.Errorf("%d, %d hits of %d", a, b, want)
	}
	s.(*session).look(func() {
		of := func(id event.ProbeID) *inproc.Tally { return s.(*session).plant.Probes[id-1].Places[0].Counter.In }
		if jump && of(first) != of(second) {
			t.Errorf("counters %v, %v", of(first), of(second))
		}
	})
	if err := s.Unregister(first); err != nil {
		t.Error(err)
	}
}

// TestEndedProcesses has a shell run a program again and again: what each has counted
// stays, and what it took to count does not.
func TestEndedProcesses(t *testing.T) {
	const runs = 20
	sh, err := exec.LookPath("sh")
	if err != nil {
		skip.Missing(t, "sh")
	}
	script := strings.Repeat(fixture.Path(t, "loop")+" 7 >/dev/null; ", runs) + fixture.Path(t, "sleeper")
	s, err := Start(context.Background(), Command{Path: sh, Args: []string{"-c", script}}, Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	all := register(t, s, ProbeSpec{Location: "loop:*", Pending: true})
	work := register(t, s, ProbeSpec{Location: "loop:work", Pending: true})
	if err := s.Resume(s.Processes()[0]); err != nil {
		t.Fatal(err)
	}
	until(t, "hits", func() bool { return s.Hits(work) == 7*runs })
	until(t, "the ends", func() (ended bool) {
		s.(*session).look(func() {
			ended = !slices.ContainsFunc(s.(*session).plant.Probes[all-1].Places, func(pl *probe.Placement) bool { return s.(*session).loop.Procs[pl.Proc.PID] == pl.Proc })
		})
		return ended
	})
	s.(*session).look(func() {
		places := s.(*session).plant.Probes[all-1].Places
		if n := len(places); n < 3*runs {
			t.Errorf("%d places", n)
		}
		for _, pl := range places {
			if pl.Counter.In != nil || pl.Site != nil || pl.Proc.Space.Table.Len() != 0 {
				t.Errorf("%s in %d keeps its counter, or its table", pl.Name, pl.Proc.PID)
			}
		}
		if n := s.(*session).inproc.Spares(); jump.Enabled && (n < 3 || n > len(places)/runs*2) {
			t.Errorf("%d counters are free", n)
		}
	})
	if err := s.Kill(); err != nil {
		t.Error(err)
	}
	if n := s.Hits(work); n != 7*runs {
		t.Errorf("%d hits, not %d", n, 7*runs)
	}
}
