package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
)

// Functions of different languages have their arguments in different places. Which
// convention a placement's function has is decided when its place is found; what reads
// arguments there, an event or a handler's program, is of that convention.

// variant is a handler as functions of one calling convention run it. Those of one
// handler have the same maps.
type variant struct {
	in     *handler.Instance
	codes  [2]*interp.Code // by build.Point; in the engine
	kernel *handler.Loaded // or nil
}

func variantOf(in *handler.Instance) *variant {
	v := &variant{in: in}
	switch x := in.Maps.(type) {
	case *handler.Interpreted:
		v.codes = [2]*interp.Code{x.Code(build.Entry), x.Code(build.Exit)}
	case *handler.Loaded:
		v.kernel = x
	}
	return v
}

// under is the handler for functions of a calling convention. Only the loop asks. One
// that is closed does not run any more.
func (h *opened) under(c arch.Convention) (*variant, error) {
	in, err := h.in.Under(c)
	switch {
	case errors.Is(err, handler.ErrClosed):
		return h.variant, nil
	case err != nil:
		return nil, err
	}
	for _, v := range h.variants {
		if v.in == in {
			return v, nil
		}
	}
	v := variantOf(in)
	h.variants = append(h.variants, v)
	return v, nil
}

// variantAt is a handler for the function that a task stands in.
func (s *session) variantAt(h *opened, t *inferior.Task) (*variant, error) {
	pc, err := s.xol.ShownPC(t)
	if err != nil {
		return nil, err
	}
	for _, m := range t.Process.Modules {
		if at := m.At(pc); at != nil {
			return h.under(s.callsInside(&probe{handler: h}, at, pc-at.Bias))
		}
	}
	return h.variant, nil
}

// callsAt is the convention of the function that a target is in. In the middle of a
// function its arguments, if they are where they were, are in its registers; on the
// stack they are not where they were.
func (s *session) callsAt(p *probe, m *symbols.Module, t *symbols.Target) arch.Convention {
	if !p.asks() || !m.File.IsGo() {
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

// asks is whether it matters to a probe how functions are called: what accesses data
// may be anywhere in one.
func (p *probe) asks() bool {
	return p.spec.Watch == AccessExecute && (p.handler != nil || p.spec.Args > 0 || p.spec.Action == ActionCall || p.spec.Action == ActionStop)
}

// able gives the spots where a probe's handler can run. At those where it asks for what
// the calling convention does not tell, the probe gets a placement that says so.
func (s *session) able(p *probe, proc *inferior.Process, spots []spot) []spot {
	if p.handler == nil {
		s.tellArgs(p, proc, spots)
		return spots
	}
	var list []spot
	for _, sp := range spots {
		var err error
		if sp.run, err = p.handler.under(sp.calls); err == nil {
			list = append(list, sp)
		} else if !sp.second {
			s.place(&placement{probe: p, proc: proc, name: sp.name, addr: sp.addr, exit: sp.exit, point: sp.point, err: err})
		}
	}
	return list
}

// tellArgs tells, once, of which functions a probe's events will not have the arguments
// that they are to have.
func (s *session) tellArgs(p *probe, proc *inferior.Process, spots []spot) {
	if p.spec.Args == 0 || p.told {
		return
	}
	n, first := 0, spot{}
	for _, sp := range spots {
		if !knows(sp.calls, sp.exit) {
			if n++; n == 1 {
				first = sp
			}
		}
	}
	if n == 0 {
		return
	}
	p.told = true
	what, others := "arguments", ""
	if first.exit != nil {
		what = "results"
	}
	if n > 1 {
		others = fmt.Sprintf(" (nor of %d other places)", n-1)
	}
	s.warn(proc, "nothing says where %s has its %s, in registers or on the stack%s: hits are told without; a handler can record a register, as $%s",
		first.name, what, others, s.isa.RegNames()[resultRegister(s.isa)])
}

// knows is whether a convention says where arguments are, or at an exit the result.
func knows(c arch.Convention, exit *exitTest) bool {
	return c == arch.C || c == arch.GoRegisters || c == arch.GoStack && exit == nil
}

// resultRegister is the word in which functions return what fits into one.
func resultRegister(isa arch.ISA) int {
	word, _ := isa.ArgReg(arch.GoRegisters, 0)
	return word
}

// arg is argument i of the function that a task has entered, as the placement's
// convention has it.
func (s *session) arg(t *inferior.Task, p *placement, view *arch.Regs, i int) (uint64, bool) {
	if p.calls != arch.GoStack || i < 0 {
		return s.isa.Arg(p.calls, view, i)
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
func (s *session) textAt(t *inferior.Task, p *placement, view *arch.Regs, i int, addr arch.Addr) string {
	if p.calls == arch.C {
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
