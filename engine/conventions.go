package engine

import (
	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Functions of different languages have their arguments in different places. Which
// convention a placement's function has is decided when its place is found; what reads
// arguments there, an event or a handler's program, is of that convention.

// variantAt is a handler for the function that a task stands in.
func (s *session) variantAt(h *inproc.Handler, t *inferior.Task) (*inproc.Variant, error) {
	pc, err := s.xol.ShownPC(t)
	if err != nil {
		return nil, err
	}
	for _, m := range t.Process.Modules {
		if at := m.At(pc); at != nil {
			return h.Under(s.find.CallsInside(&probe.Probe{Handler: h}, at, pc-at.Bias))
		}
	}
	return h.Variant, nil
}

// arg is argument i of the function that a task has entered, as the placement's
// convention has it.
func (s *session) arg(t *inferior.Task, p *probe.Placement, view *arch.Regs, i int) (uint64, bool) {
	if p.Calls != arch.GoStack || i < 0 {
		return s.isa.Arg(p.Calls, view, i)
	}
	var b [8]byte
	at := arch.Addr(view[s.isa.SPReg()] + uint64(arch.StackArg(i)))
	if t.Process.Space.Memory.Read(at, b[:]) != nil {
		return 0, false
	}
	return le64(b[:]), true
}

// textAt reads the string that a function is given as argument i, or that it returns,
// from addr on: of Go's functions the length is the next word.
func (s *session) textAt(t *inferior.Task, p *probe.Placement, view *arch.Regs, i int, addr arch.Addr) string {
	if p.Calls == arch.C {
		return s.readString(t, addr)
	}
	n, ok := s.arg(t, p, view, i+1) // results have the registers of arguments
	if !ok {
		return ""
	}
	buf := make([]byte, min(n, maxString))
	have, _ := t.Process.Space.Memory.ReadSome(addr, buf)
	return string(buf[:have])
}
