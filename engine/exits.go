package engine

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// leaves asks for the instruction's code only where it matters.
func (s *session) leaves(t *inferior.Task, p *probe.Placement, code func() []byte, r *arch.Regs) bool {
	x := p.Exit
	if x.Always {
		return true
	}
	next, err := s.isa.Next(code(), p.Addr, r, t.Process.Space.Memory.Read)
	if err != nil {
		return false
	}
	for _, in := range x.Ranges {
		if next >= in[0] && next < in[1] {
			return false
		}
	}
	return true
}
