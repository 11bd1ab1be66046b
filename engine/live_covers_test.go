package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
)

// TestCovers has probes that are for a process and its children, for the process
// alone, and for neither, at the same place.
func TestCovers(t *testing.T) {
	for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot} {
		for mode, all := range map[string]uint64{"fork": 300, "exec": 300} {
			t.Run(fmt.Sprint(mode, "-", rung), func(t *testing.T) {
				p := launch(t, "forker", mode, "3", "50")
				s := attach(t, p.pid)
				if err := s.Follow(p.pid, true); err != nil {
					t.Fatal(err)
				}
				spec := func(f func(*ProbeSpec)) event.ProbeID {
					ps := ProbeSpec{Location: "work", Rung: rung, PID: p.pid}
					f(&ps)
					return register(t, s, ps)
				}
				with := spec(func(*ProbeSpec) {})
				alone := spec(func(ps *ProbeSpec) { ps.Alone = true })
				spec(func(ps *ProbeSpec) { ps.Alone, ps.Action = true, ActionTell })
				never := spec(func(ps *ProbeSpec) { ps.PID, ps.Except, ps.Pending = 0, []int{p.pid}, true })
				p.goOn()
				if _, status := p.end(); status != 0 {
					t.Errorf("status %d", status)
				}
				if a, b, c := s.Hits(with), s.Hits(alone), s.Hits(never); a != all || b != 150 || c != 0 {
					t.Errorf("%d, %d, %d hits, want %d, 150, 0", a, b, c, all)
				}
				told := 0
				for e := range s.Events(t.Context()) {
					switch b := e.Body.(type) {
					case *event.Warning:
						t.Errorf("warning: %s", b.Text)
					case *event.Hit:
						told++
					}
				}
				if told != 150 {
					t.Errorf("%d told, want 150", told)
				}
			})
		}
	}
}

// TestFollow turns the following of children on, and off again.
func TestFollow(t *testing.T) {
	p := launch(t, "forker", "fork", "3", "50")
	s := attach(t, p.pid, Options{Life: true})
	id := register(t, s, ProbeSpec{Location: "work"})
	leaf := register(t, s, ProbeSpec{Location: "leaf", Action: ActionStop}) // in the parent, behind each fork
	if err := s.Follow(1, true); err == nil {
		t.Error("a process of nobody's")
	}
	p.goOn()
	for n := 0; n < 3; {
		e, _ := poll[*event.Stopped](t, s)
		if e.PID == p.pid {
			n++
			if err := s.Follow(p.pid, n == 1); err != nil { // the second child, and not the third
				t.Error(err)
			}
		}
		if err := s.Resume(e.TID); err != nil {
			t.Error(err)
		}
	}
	p.end()
	if got := s.Hits(id); got != 200 || s.Hits(leaf) != 4 {
		t.Errorf("%d hits of work, %d of leaf, want 200 and 4", got, s.Hits(leaf))
	}
}

// TestAllow has one client that may have probes in a process until the process executes another
// program, and one that may have them throughout.
func TestAllow(t *testing.T) {
	p := launch(t, "life", "exec", "1", "50")
	var mu sync.Mutex
	asked := map[string]int{}
	s, err := AttachShared(t.Context(), p.pid, SharedOptions{Allow: func(client any, pid int) bool {
		mu.Lock()
		defer mu.Unlock()
		asked[client.(string)]++
		return pid == p.pid && (client == "always" || asked["sometimes"] == 1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Detach() })
	var ids []event.ProbeID
	for _, by := range []any{nil, "always", "sometimes"} {
		for _, where := range []string{"work", "leaf"} {
			id, err := s.RegisterFor(by, ProbeSpec{Location: where})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	}
	p.goOn()
	p.end()
	for i, want := range []uint64{100, 2, 100, 2, 50, 1} {
		if got := s.Hits(ids[i]); got != want {
			t.Errorf("probe %d: %d hits, want %d", i, got, want)
		}
	}
	if asked["always"] != 2 || asked["sometimes"] != 2 {
		t.Errorf("asked %v", asked)
	}
}

// TestStrip has probes come and go while children are made and followed, and not:
// none of those that are for the process alone is ever in a child.
func TestStrip(t *testing.T) {
	p := launch(t, "forker", "fork", "1000000", "10")
	s := attach(t, p.pid)
	if err := s.Follow(p.pid, true); err != nil {
		t.Fatal(err)
	}
	p.goOn()
	var ids []event.ProbeID
	for i := range pace(150, 20) {
		spec := ProbeSpec{Location: "work", PID: p.pid, Alone: i%2 == 0, Action: Action(i % 3 / 2)}
		id := register(t, s, spec)
		if spec.Alone {
			ids = append(ids, id)
		}
		if i > 10 {
			if err := s.Unregister(ids[i%len(ids)]); err != nil {
				t.Error(err)
			}
		}
		if i%10 == 9 {
			if err := s.Follow(p.pid, i%20 == 9); err != nil {
				t.Error(err)
			}
		}
	}
	for _, id := range ids {
		for _, pl := range s.Placements(id) {
			if pl.PID != p.pid {
				t.Errorf("probe %d is at %+v", id, pl)
			}
		}
	}
}
