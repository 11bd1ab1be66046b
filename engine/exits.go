package engine

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// exitTest decides at a hit whether a jump leaves its function: an indirect
// one may be a switch, a conditional one may not be taken.
type exitTest struct {
	tail   bool // a jump to another function: the result is not there yet
	always bool
	ranges [][2]arch.Addr // of the function, in the process
}

// leaves asks for the instruction's code only where it matters.
func (s *session) leaves(t *inferior.Task, p *placement, code func() []byte, r *arch.Regs) bool {
	x := p.exit
	if x.always {
		return true
	}
	next, err := s.isa.Next(code(), p.addr, r, t.Process.Space.Memory.Read)
	if err != nil {
		return false
	}
	for _, in := range x.ranges {
		if next >= in[0] && next < in[1] {
			return false
		}
	}
	return true
}
