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

// Gates before calls of rt_sigaction. A program that starts another by posix_spawn, or by Go's
// os/exec, has the child reset all signal handlers in the parent's memory while all signals are
// blocked. A trap there kills the child if the tracer is dead. So each such call has a gate before
// it: a jump at the load of the call's number. It leads to code that makes the call, unless the
// call is about SIGTRAP, and goes on behind it. Such a child's calls are made by the gate, too.
// Only the other calls about SIGTRAP come to the site.

// gate is a gate that is being made. The site at the call is planted after the gate and removed
// before it, because the tracer may die in between.
type gate struct {
	at   *breakpoint.Site
	call probe.Target
	hook probe.Hook // what is to run at the call
}

// Gate prepares gates for those of the rt_sigaction calls in an object that can have one. It
// returns the others.
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

// HookGated plants the sites behind gates, when the gates are jumps or it is known that they can't
// be.
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

// passes is the hook of a gate that is still a trap: the task goes on.
func passes(*inferior.Task, *breakpoint.Site) (bool, error) { return false, nil }

// OpenGates removes the gates before sites at which a probe is to see every task.
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
