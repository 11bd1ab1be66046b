package hook

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// A program that starts another by posix_spawn, or by Go's os/exec, has the child
// reset the handlers of all signals while all are blocked, in its parent's memory. A trap
// then ends the child if we are dead. So there is a gate before an rt_sigaction call that
// has our site: a jump at the load of its number, to code that makes the call where that
// is not about SIGTRAP, or is such a child's, and goes on behind it. What is left comes to
// the site.

// gate is one that is being made. The site before which it stands comes behind it, and
// goes first: we may die in between.
type gate struct {
	at   *breakpoint.Site
	call probe.Target
	hook probe.Hook // of the call
}

// Gate gets gates ready for those of the calls of rt_sigaction in an object of a
// process that can have one, and gives back the others.
func (h *Hooks) Gate(p *inferior.Process, m *symbols.Module, calls []probe.Target, hook probe.Hook) (others []probe.Target) {
	if !jump.Enabled || h.jump.NoJumps() != nil {
		return calls
	}
	for _, call := range calls {
		load := call.Addr - arch.Addr(h.isa.JumpLen())
		orig := inferior.Bytes(h.isa, m, load-m.Bias)
		if !h.isa.LoadsNumber(orig, ptrace.SysRtSigaction) || p.Space.Table.At(call.Addr) != nil || p.Space.Table.At(load) != nil {
			others = append(others, call)
			continue
		}
		inst, err := h.isa.Decode(call.Orig, call.Addr)
		if err != nil || inst.Kind != arch.KindSyscall {
			others = append(others, call)
			continue
		}
		sites, _ := h.Insert(p, []breakpoint.Want{{Addr: load, Orig: orig, Quiet: true}})
		if sites[0] == nil {
			others = append(others, call)
			continue
		}
		probe.Of(sites[0]).Add(&probe.Placement{Proc: p, Place: probe.Place{Name: call.Name, Addr: load}, Hook: passes, Behind: call.Addr + arch.Addr(inst.Len),
			Site: sites[0], Rung: sites[0].Rung})
		h.gates[p] = append(h.gates[p], gate{sites[0], call, hook})
		h.jump.AddNear(p, sites[0])
	}
	return others
}

// Forked implements inferior.Room.
func (h *Hooks) Forked(parent, child *inferior.Process) {}

// Left implements inferior.Room: it forgets the gates that are being made in a process.
func (h *Hooks) Left(p *inferior.Process, _ bool) { delete(h.gates, p) }

// HookGated plants the sites behind gates, when these are there, or can't be.
func (h *Hooks) HookGated(p *inferior.Process) error {
	gates := h.gates[p]
	delete(h.gates, p)
	var errs []error
	for _, g := range gates {
		if h.loop.Procs[p.PID] != p {
			return ptrace.ErrGone
		}
		errs = append(errs, h.Hook(p, []probe.Target{g.call}, g.hook))
		if pl := probe.GateOf(g.at); pl != nil && pl.Site == g.at && !g.at.Jumps() {
			errs = append(errs, h.take(pl))
		}
		errs = append(errs, h.OpenGates(p, []*breakpoint.Site{p.Space.Table.At(g.call.Addr)}))
	}
	return errors.Join(errs...)
}

// passes is for a gate that is a trap.
func passes(*inferior.Task, *breakpoint.Site) (bool, error) { return false, nil }

// OpenGates takes away the gates before sites where another probe is to see every task.
func (h *Hooks) OpenGates(p *inferior.Process, sites []*breakpoint.Site) error {
	var errs []error
	for _, site := range sites {
		if site == nil || site.Tag == nil || len(probe.Of(site).List) < 2 || !h.Hooked(p, site.Addr) {
			continue
		}
		if at := p.Space.Table.At(site.Addr - arch.Addr(h.isa.JumpLen())); at != nil {
			if pl := probe.GateOf(at); pl != nil {
				err := h.jump.Downgrade(p.Space, []*breakpoint.Site{at}, "another probe was near")
				if err == nil {
					err = h.take(pl)
				}
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
