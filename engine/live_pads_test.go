package engine

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
)

// padCalls are the functions of the fixture pads, by how often each is called.
var padCalls = map[string]uint64{"leaf": 9, "frame": 4, "deep": 4}

// TestPads has jumps behind landing pads, which stay where indirect branches must
// find them (on a CPU that guards: the lane's -cpu max), and signed return
// addresses behind jumps.
func TestPads(t *testing.T) {
	needsJumps(t)
	want, _ := alone(t, "pads", "3000")
	for _, suffix := range []string{"", "%return", "+*"} {
		p := launch(t, "pads", "3000")
		s := attach(t, p.pid)
		ids := map[string]event.ProbeID{}
		for name := range padCalls {
			ids[name] = register(t, s, ProbeSpec{Location: name + suffix})
			for i, pl := range s.Placements(ids[name]) {
				if pl.Rung != breakpoint.Jump && (suffix == "" || i == 0) {
					t.Errorf("%s: %v, %s", pl.Name, pl.Rung, pl.Reason)
				}
			}
		}
		for range 2 { // traps, jumps again
			extra := register(t, s, ProbeSpec{Location: "leaf", Action: ActionTell})
			if err := s.Unregister(extra); err != nil {
				t.Fatal(err)
			}
		}
		p.goOn()
		out, status := p.end()
		if unpid(out) != unpid(want) || status != 0 {
			t.Errorf("%q: %q, status %d, want %q", suffix, out, status, want)
		}
		for name, id := range ids {
			hits := s.Hits(id)
			if suffix == "+*" {
				hits = s.Placements(id)[0].Hits
			}
			if hits != padCalls[name]*3000 {
				t.Errorf("%s%s: %d hits, want %d", name, suffix, hits, padCalls[name]*3000)
			}
		}
	}
}

// TestPadsComeAndGo has jumps come and go, and traps in their place, while the
// program runs through them: a task between a landing pad and the jump hits.
func TestPadsComeAndGo(t *testing.T) {
	needsJumps(t)
	n := uint64(pace(30_000_000, 2_000_000))
	p := launch(t, "pads", fmt.Sprint(n))
	s := attach(t, p.pid)
	ids := map[string]event.ProbeID{}
	for name := range padCalls {
		ids[name] = register(t, s, ProbeSpec{Location: name})
	}
	p.goOn()
	rounds := 0
	for ; rounds < pace(400, 40); rounds++ {
		spec := ProbeSpec{Location: []string{"leaf", "deep", "frame+4", "leaf+*"}[rounds%4], Rung: breakpoint.Slot}
		id, err := s.Register(spec)
		if err == nil {
			err = s.Unregister(id)
		}
		if gone(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds", rounds)
	for name, id := range ids {
		if pl := s.Placements(id)[0]; !isJump(pl.Rung) && rounds == pace(400, 40) {
			t.Errorf("%s: %v, %s", name, pl.Rung, pl.Reason)
		}
	}
	if _, status := p.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	for name, id := range ids {
		if hits := s.Hits(id); hits != padCalls[name]*n {
			t.Errorf("%s: %d hits, want %d", name, hits, padCalls[name]*n)
		}
	}
}
