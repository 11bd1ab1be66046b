package plant

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
	"github.com/ptracer/ptracer/symbols/location"
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
		err := sp.Unbound
		if err == nil {
			sp.Run, err = p.Handler.Under(handler.Place{Calls: sp.Calls, Bound: sp.Bound})
		}
		if err == nil {
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
	r.loop.Warn(proc, "nothing says where %s has its %s%s: hits are told without; a handler can record a register, as $%s",
		first.Name, what, others, r.isa.RegNames()[find.ResultRegister(r.isa)])
}

// LookAhead resolves a probe's location in objects. It runs outside the session's thread, so that
// symbols are read while no task waits.
func LookAhead(r *Planter, j *jump.Jumps, p *probe.Probe, mods []*symbols.Module) {
	isa := r.isa
	done := false
	for _, m := range mods {
		if done || !p.Loc.MatchesBinary(*m) || p.Loc.HasAddress {
			continue
		}
		if p.Asks() {
			m.File.Convention(symbols.Function{})
		}
		if p.Ahead[m.File] != nil {
			continue
		}
		found, _ := p.Loc.Resolve(m.File, isa)
		if len(found) == 0 {
			continue
		}
		if p.Ahead == nil {
			p.Ahead = map[*symbols.File][]location.Target{}
		}
		p.Ahead[m.File] = found
		r.find.BindAll(p, m, found)
		done = p.Loc.Binary == "" // the first object that has it is meant
		if p.MayJump() && jump.Enabled && j.NoJumps() == nil {
			m.File.Survey(isa)
			goruntime.List(m) // finds the list of goroutines now, not in a pause
		}
	}
}
