package engine

import (
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/symbols/goruntime"
)

// TestFindGoroutines finds, without symbols, all goroutines that symbols lead to,
// while they begin and end.
func TestFindGoroutines(t *testing.T) {
	p := launch(t, "gowork", "300", "1000000000", "2000")
	p.goOn()
	s := attach(t, p.pid).(*session)
	most := 0
	for range pace(50, 5) {
		if err := s.loop.Do(func() error {
			proc := s.loop.Procs[p.pid]
			m := proc.Objects()[0]
			return s.loop.WhileHalted(func(breakpoint.Pause) error {
				want, err := goruntime.Goroutines(proc.Space.Memory, len(proc.Tasks), m)
				if err != nil {
					return err
				}
				got, err := goruntime.Search(proc.Space.Memory, len(proc.Tasks), m)
				if err != nil {
					return err
				}
				for _, g := range want {
					if !slices.Contains(got, g) {
						t.Errorf("no goroutine %+v among %d", g, len(got))
					}
				}
				most = max(most, len(want))
				return nil
			}, proc.Space)
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
	needsJumping(t)
	p := launch(t, "gowork-stripped", "300", "1000000000", "2000")
	p.goOn()
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "gowork-stripped:*"})
	traps := 0
	list := s.Placements(id)
	for _, pl := range list {
		if !isJump(pl.Rung) {
			traps++
		}
	}
	if traps > len(list)/100 {
		t.Errorf("%d of %d are traps", traps, len(list))
	}
}

// TestGoGaps has every function of a Go program start and return by jumps: none begins
// in the room between functions. A signal there, with no tracer, finds Go's runtime at
// an address that its tables have no line for, and that ends the program.
func TestGoGaps(t *testing.T) {
	needsJumps(t)
	p := launch(t, "gowork", "3", "1000")
	s := attach(t, p.pid).(*session)
	register(t, s, ProbeSpec{Location: "gowork:*"})
	register(t, s, ProbeSpec{Location: "gowork:*%return"})
	changed := 0
	if err := s.loop.Do(func() error {
		proc := s.loop.Procs[p.pid]
		m := proc.Objects()[0]
		fns, err := m.File.Functions()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(fns); i++ {
			from, n := fns[i].End(), int(fns[i+1].Addr-fns[i].End())
			if n <= 0 || n > 64 {
				continue
			}
			want, got := make([]byte, n+1), make([]byte, n+1)
			if m.File.Text(from-1, want) != nil {
				continue
			}
			if err := proc.Space.Memory.Read(m.Runtime(from-1), got); err != nil {
				return err
			}
			// What begins in the function may end behind it.
			if slices.Equal(want[1:], got[1:]) {
				continue
			}
			if changed++; !covered(proc.Space.Table, m.Runtime(from), hostISA().JumpLen()) {
				t.Errorf("% x behind %s, not % x", got, fns[i].Name, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if changed == 0 && jump.Enabled && hostISA().MinInst() == 1 {
		t.Error("no jump ends behind its function")
	}
}

// covered reports whether a jump that begins before an address ends behind it.
func covered(table *breakpoint.Table, at arch.Addr, n int) bool {
	return slices.ContainsFunc(table.JumpsOver(at, 1), func(s *breakpoint.Site) bool { return s.Addr < at && s.Addr+arch.Addr(n) > at })
}
