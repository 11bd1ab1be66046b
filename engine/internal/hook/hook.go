// Package hook inserts sites and has sites of the engine's own, called hooks: at system calls that
// the tracer answers, in the dynamic loader, and where a resolver returns. It puts the guard into a
// space before the space's first site.
//
// All of it runs on the session's thread. What runs at a hook is given by the packages above.
package hook

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/procfs"
)

// Hooks has the hooks in a session's processes.
type Hooks struct {
	loop   *tasks.Set
	remote *remote.Caller
	guard  *guard.Guard
	inproc *inproc.InProcess
	jump   *jump.Jumps
	isa    arch.ISA
	// onGuard plants the hooks that a process has from its first guard on.
	onGuard func(*inferior.Process) error
	gates   map[*inferior.Process][]gate // gates that are being made
}

// New returns a session's Hooks. onGuard is called when a process gets its first guard.
func New(loop *tasks.Set, caller *remote.Caller, g *guard.Guard, in *inproc.InProcess, j *jump.Jumps, isa arch.ISA,
	onGuard func(*inferior.Process) error) *Hooks {
	return &Hooks{loop: loop, remote: caller, guard: g, inproc: in, jump: j, isa: isa, onGuard: onGuard,
		gates: map[*inferior.Process][]gate{}}
}

// PlantStep puts a hook where a single step ends.
func (h *Hooks) PlantStep(p *inferior.Process, at arch.Addr, f probe.Hook) (*probe.Placement, error) {
	if m := p.ModuleAt(at); m != nil && h.isa.MinInst() > 1 {
		if fn, ok := m.File.FunctionAt(at - m.Bias); ok && at-m.Bias != fn.Addr {
			code := make([]byte, min(fn.Size, 1<<20))
			if m.File.Text(fn.Addr, code) == nil {
				if _, inside := h.isa.Exclusive(code, fn.Addr, at-m.Bias); inside {
					return nil, fmt.Errorf("%w: put a probe behind it", breakpoint.ErrExclusive)
				}
			}
		}
	}
	if err := h.GuardSpace(p, at, 1); err != nil {
		return nil, err
	}
	sites, errs := h.Insert(p, []breakpoint.Want{{Addr: at}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	pl := &probe.Placement{Proc: p, Place: probe.Place{Addr: at}, Hook: f, Site: sites[0], Rung: sites[0].Rung}
	probe.Of(sites[0]).Add(pl)
	return pl, h.OpenGates(p, sites)
}

// Hook plants hooks at targets: f runs when a task comes to one.
func (h *Hooks) Hook(p *inferior.Process, spots []probe.Target, f probe.Hook) error {
	if len(spots) == 0 {
		return nil
	}
	if !p.Space.Guard.Installed {
		if err := h.GuardSpace(p, spots[0].Addr, len(spots)); err != nil {
			return err
		}
	}
	wants := make([]breakpoint.Want, len(spots))
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig}
	}
	sites, errs := h.Insert(p, wants)
	for i, site := range sites {
		if site != nil && !h.Hooked(p, site.Addr) {
			probe.Of(site).Add(&probe.Placement{Proc: p, Place: probe.Place{Name: spots[i].Name, Addr: site.Addr}, Hook: f, Site: site, Rung: site.Rung})
		}
	}
	return errors.Join(errs...)
}

// Hooked reports whether a hook is at an address of a process.
func (h *Hooks) Hooked(p *inferior.Process, addr arch.Addr) bool {
	site := p.Space.Table.At(addr)
	if site == nil || site.Tag == nil {
		return false
	}
	for _, pl := range probe.Of(site).List {
		if pl.Hook != nil {
			return true
		}
	}
	return false
}

// take takes a hook's placement off its site, and removes the site if no placement is left there.
func (h *Hooks) take(pl *probe.Placement) error {
	site := pl.Leave()
	if site == nil || h.loop.Procs[pl.Proc.PID] != pl.Proc {
		return nil
	}
	return h.RemoveSite(pl.Proc.Space, site)
}

// RemoveSite removes a site. Jumps that displace its instruction are made traps first.
func (h *Hooks) RemoveSite(space *inferior.Space, site *breakpoint.Site) error {
	var leaning []*breakpoint.Site
	for _, other := range space.Table.Sharing([]*breakpoint.Site{site}) {
		if other != site && other.Jumps() {
			leaning = append(leaning, other)
		}
	}
	if err := h.jump.Downgrade(space, leaning, "another probe was near"); err != nil {
		return err
	}
	return space.Table.Remove([]*breakpoint.Site{site})
}

// learnDispatch finds out whether a task of a process has syscall user dispatch on at the attach.
// It is off where SIGSYS has no handler. Go's runtime has a handler for every signal and does not
// use it.
func (h *Hooks) learnDispatch(p *inferior.Process) error {
	const bitSys = 1 << (31 - 1)
	st, err := procfs.ReadStatus(p.PID)
	if err != nil || st.Hex("SigCgt")&bitSys == 0 || p.IsGo() || p.Space.Dispatches {
		return nil
	}
	return h.loop.WhileHalted(func(breakpoint.Pause) error {
		for _, t := range p.Tasks {
			d, err := remote.DispatchOf(t)
			if err != nil && !ptrace.IsGone(err) {
				return err
			}
			p.Space.Dispatches = p.Space.Dispatches || d.On()
		}
		return nil
	}, p.Space)
}

// GuardSpace makes sure that all processes of a space survive the tracer's death, before the
// space's first trap is planted: each gets the guard. This includes a parent that waits for its
// vfork child and can be halted only when the child is through. near is the address of one of the n
// sites to come.
func (h *Hooks) GuardSpace(proc *inferior.Process, near arch.Addr, n int) error {
	fresh := false
	for _, p := range h.loop.Sharing(proc.Space) {
		if p.Guarded {
			continue
		}
		fresh = true
		err := h.remote.WithTask([]*inferior.Process{p}, func(t *inferior.Task) error { return h.guard.Prepare(t, near, n) })
		if err != nil && (p == proc || !ptrace.IsGone(err)) {
			return err
		}
	}
	if !fresh {
		return nil
	}
	if err := h.learnDispatch(proc); err != nil {
		return err
	}
	return h.onGuard(proc)
}
