package engine

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
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
			return h.Under(s.callsInside(&probe.Probe{Handler: h}, at, pc-at.Bias))
		}
	}
	return h.Variant, nil
}

// callsAt is the convention of the function that a target is in. In the middle of a
// function its arguments, if they are where they were, are in its registers; on the
// stack they are not where they were.
func (s *session) callsAt(p *probe.Probe, m *symbols.Module, t *symbols.Target) arch.Convention {
	if !p.Asks() || !m.File.IsGo() {
		return arch.C
	}
	if t.Function.Name == "" {
		return arch.NotKnown
	}
	c := m.File.Convention(t.Function)
	if c == arch.GoStack && !t.Entry && t.Exit == nil {
		return arch.NotKnown
	}
	return c
}

// able gives the spots where a probe's handler can run. At those where it asks for what
// the calling convention does not tell, the probe gets a placement that says so.
func (s *session) able(p *probe.Probe, proc *inferior.Process, spots []probe.Target) []probe.Target {
	if p.Handler == nil {
		s.tellArgs(p, proc, spots)
		return spots
	}
	var list []probe.Target
	for _, sp := range spots {
		var err error
		if sp.Run, err = p.Handler.Under(sp.Calls); err == nil {
			list = append(list, sp)
		} else if !sp.Second {
			s.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
		}
	}
	return list
}

// tellArgs tells, once, of which functions a probe's events will not have the arguments
// that they are to have.
func (s *session) tellArgs(p *probe.Probe, proc *inferior.Process, spots []probe.Target) {
	if p.Spec.Args == 0 || p.Told {
		return
	}
	n, first := 0, probe.Target{}
	for _, sp := range spots {
		if !probe.Knows(sp.Calls, sp.Exit) {
			if n++; n == 1 {
				first = sp
			}
		}
	}
	if n == 0 {
		return
	}
	p.Told = true
	what, others := "arguments", ""
	if first.Exit != nil {
		what = "results"
	}
	if n > 1 {
		others = fmt.Sprintf(" (nor of %d other places)", n-1)
	}
	s.loop.Warn(proc, "nothing says where %s has its %s, in registers or on the stack%s: hits are told without; a handler can record a register, as $%s",
		first.Name, what, others, s.isa.RegNames()[resultRegister(s.isa)])
}

// resultRegister is the word in which functions return what fits into one.
func resultRegister(isa arch.ISA) int {
	word, _ := isa.ArgReg(arch.GoRegisters, 0)
	return word
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
