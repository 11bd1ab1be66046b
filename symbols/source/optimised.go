package source

import (
	sd "debug/dwarf"
	"regexp"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/line"
)

// Optimises reports whether a unit's code was optimised, and whether the compiler is gcc, which marks
// where statements begin since version 8.
func (s *Source) Optimises(u *dwarf.Unit) (optimised, marks bool) {
	root, err := u.Root()
	if err != nil {
		return true, false
	}
	producer := root.Text(sd.AttrProducer)
	marks = strings.HasPrefix(producer, "GNU ")
	if level := levels.FindAllStringSubmatch(producer, -1); level != nil {
		last := level[len(level)-1][1]
		return last != "0", marks
	}
	if marks { // gcc tells all options
		return false, marks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	optimised, known := s.optimised[u]
	if !known {
		optimised = movesVariables(u)
		s.optimised[u] = optimised
	}
	return optimised, marks
}

// levels finds the options for optimisation that a producer tells.
var levels = regexp.MustCompile(` -O(\S*)`)

// movesVariables reports whether a variable of a unit is at several places, or nowhere, or a call is
// inlined: what no compiler does without optimisation.
func movesVariables(u *dwarf.Unit) (moves bool) {
	_ = u.Entries(func(e dwarf.Entry) bool {
		switch e.Tag() {
		case sd.TagInlinedSubroutine:
			moves = true
		case sd.TagFormalParameter, sd.TagVariable:
			if v, ok := e.Val(sd.AttrLocation); ok {
				_, one := v.Block()
				moves = !one
			}
		}
		return !moves
	})
	return moves
}

// behindPrologue returns where the body of a function begins if addr is where the function does, else
// addr. Without optimisation, arguments are where debug information says only behind the prologue.
func (s *Source) behindPrologue(fn dwarf.Entry, addr arch.Addr) arch.Addr {
	low, ok := fn.Addr(sd.AttrLowpc)
	ranges, err := fn.Ranges()
	if !ok || low != uint64(addr) || err != nil || len(ranges) == 0 {
		return addr
	}
	u, err := s.d.UnitOf(low)
	if u == nil || err != nil {
		return addr
	}
	t, err := u.Lines()
	if t == nil || err != nil {
		return addr
	}
	second, end := uint64(0), uint64(0)
	_ = t.Rows(func(r *line.Row) bool {
		if r.Addr < low || r.Addr >= ranges[0].High || r.End {
			return true
		}
		if r.Addr > low && r.Stmt && (second == 0 || r.Addr < second) {
			second = r.Addr
		}
		if r.PrologueEnd && (end == 0 || r.Addr < end) {
			end = r.Addr
		}
		return true
	})
	switch {
	case end != 0:
		return arch.Addr(end)
	case second != 0:
		return arch.Addr(second)
	}
	return addr
}
