package engine

import (
	"slices"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
)

// TestFindGoroutines finds, without symbols, all goroutines that symbols lead to,
// while they begin and end.
func TestFindGoroutines(t *testing.T) {
	p := launch(t, "gowork", "300", "100000", "2000")
	p.goOn()
	s := attach(t, p.pid).(*session)
	most := 0
	for range pace(50, 5) {
		if err := s.do(func() error {
			proc := s.procs[p.pid]
			m := s.modules(proc)[0]
			return s.whileHalted(proc.Space, func(int) error {
				want, err := goroutines(proc, m)
				if err != nil {
					return err
				}
				got, err := findGoroutines(proc, m)
				if err != nil {
					return err
				}
				for _, g := range want {
					if !slices.Contains(got, g) {
						t.Errorf("no goroutine with a stack from %v to %v among %d", g.lo, g.hi, len(got))
					}
				}
				most = max(most, len(want))
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if most < 200 {
		t.Errorf("%d goroutines at most", most)
	}
}

// TestStrippedGoJumps: without symbols a Go program's functions are jumps as with them.
func TestStrippedGoJumps(t *testing.T) {
	needsJumps(t)
	p := launch(t, "gowork-stripped", "300", "100000", "2000")
	p.goOn()
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "gowork-stripped:*"})
	traps := 0
	list := s.Placements(id)
	for _, pl := range list {
		if pl.Rung != breakpoint.Jump && pl.Rung != breakpoint.Pun {
			traps++
		}
	}
	if traps > len(list)/100 {
		t.Errorf("%d of %d are traps", traps, len(list))
	}
}
