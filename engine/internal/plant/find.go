package plant

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// able returns those of the targets at which a probe's handler can run. Where the calling
// convention does not tell what the handler asks for, the probe gets a placement with the error.
func (r *Planter) able(p *probe.Probe, proc *inferior.Process, spots []probe.Target) []probe.Target {
	if p.Handler == nil {
		r.tellArgs(p, proc, spots)
		return spots
	}
	var list []probe.Target
	for _, sp := range spots {
		var err error
		if sp.Run, err = p.Handler.Under(sp.Calls); err == nil {
			list = append(list, sp)
		} else if !sp.Second {
			r.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
		}
	}
	return list
}

// tellArgs warns, once for a probe, of the functions at which the arguments that the probe asks for
// are not known.
func (r *Planter) tellArgs(p *probe.Probe, proc *inferior.Process, spots []probe.Target) {
	if len(p.Spec.Args) == 0 || p.Told {
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
	r.loop.Warn(proc, "nothing says where %s has its %s, in registers or on the stack%s: hits are told without; a handler can record a register, as $%s",
		first.Name, what, others, r.isa.RegNames()[find.ResultRegister(r.isa)])
}
