// Package plant puts probes into processes and takes them out. It chooses what serves a probe (a
// site, a debug register, a uprobe), replaces IFUNCs by what implements them, begins and ends
// windows of counting, and finds patches that the program has thrown away.
//
// All of it runs on the session's thread. Sites are written by package breakpoint; when sites are
// jumps is decided by package jump.
package plant

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/symbols"
)

// Planter has the probes of a session.
type Planter struct {
	Probes []*probe.Probe // by their id less 1
	// Beginning says that the objects that are found now have run no code yet.
	Beginning bool

	loop   *tasks.Set
	remote *remote.Caller
	guard  *guard.Guard
	xol    *xol.XOL
	inproc *inproc.InProcess
	jump   *jump.Jumps
	watch  *watch.Registers
	uprobe *uprobe.Links
	hook   *hook.Hooks
	find   *find.Finder
	isa    arch.ISA
	allow  func(by any, pid int) bool

	spaces   int   // how many address spaces have a number
	nextLook int64 // when LookForLost may look again, in ns
}

// Below has the rooms that a Planter works with.
type Below struct {
	Loop   *tasks.Set
	Remote *remote.Caller
	Guard  *guard.Guard
	XOL    *xol.XOL
	InProc *inproc.InProcess
	Jump   *jump.Jumps
	Hook   *hook.Hooks
	Find   *find.Finder
	Watch  *watch.Registers
	Uprobe *uprobe.Links
	ISA    arch.ISA
}

// New returns a session's Planter, without probes. allow is api.Options.Allow; nil allows all.
func New(b Below, allow func(by any, pid int) bool) *Planter {
	return &Planter{loop: b.Loop, remote: b.Remote, guard: b.Guard, xol: b.XOL, inproc: b.InProc, jump: b.Jump,
		hook: b.Hook, find: b.Find, watch: b.Watch, uprobe: b.Uprobe, isa: b.ISA, allow: allow}
}

// inheritKernel gives a forked child uprobes of its own: the kernel's are for
// one process.
func (r *Planter) inheritKernel(parent, child *inferior.Process) {
	if child.Leaving {
		return
	}
	for _, p := range r.Probes {
		if h := p.Handler; h == nil || h.Kernel == nil || p.Gone || !r.covers(p, child) {
			continue
		}
		if err := r.Plant(p, child, child.Objects()); err != nil {
			r.loop.Warn(child, "%s: %v", p.Spec.Location, err)
		}
	}
}

// plantWatch puts a probe into debug registers of a process.
func (r *Planter) plantWatch(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	added, err := r.watch.Take(p, proc, spots)
	if err == nil {
		err = r.hook.GuardSpace(proc, spots[0].Addr, 1)
	}
	if err == nil {
		err = r.watch.SetAll(proc)
	}
	if err != nil {
		return errors.Join(err, r.watch.Remove(proc, added...))
	}
	for _, pl := range added {
		r.place(pl)
	}
	return nil
}

// Plant puts a probe into the given objects of a process. It returns an error if the location is
// not found there, or if the process could not be prepared for probes. An error of a single target
// is in its Placement.
func (r *Planter) Plant(p *probe.Probe, proc *inferior.Process, mods []*symbols.Module) error {
	if p.Gone || proc.Silent || !r.covers(p, proc) {
		return nil
	}
	spots, err := r.find.Spots(p, mods)
	if len(spots) == 0 {
		return err
	}
	if p.Found = true; len(r.loop.Procs) == 1 {
		p.Ahead = nil // no other process asks for it
	}
	if spots = r.implemented(p, proc, spots); len(spots) == 0 || r.loop.Procs[proc.PID] != proc {
		return nil
	}
	return r.plantSpots(p, proc, spots)
}

// plantSpots puts a probe at targets by what serves it.
func (r *Planter) plantSpots(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if spots = r.able(p, proc, spots); len(spots) == 0 {
		return nil
	}
	if h := p.Handler; h != nil && h.Kernel != nil {
		return r.uprobe.Plant(p, proc, spots, r.place)
	}
	if p.Spec.Rung == breakpoint.Hardware {
		return r.plantWatch(p, proc, spots)
	}
	return r.plantSites(p, proc, spots)
}

// plantSites arms the sites of all targets. Only one task stops for it, and only before the
// process's first probe.
func (r *Planter) plantSites(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if err := r.hook.GuardSpace(proc, spots[0].Addr, len(spots)); err != nil {
		err = fmt.Errorf("probe %s in %d: %w", p.Spec.Location, proc.PID, err)
		if !ptrace.IsGone(err) {
			for _, sp := range spots { // the placements say that the location was found
				r.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
			}
		}
		return err
	}
	wants := make([]breakpoint.Want, len(spots))
	quiet := r.jump.Quiet(p)
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig, Rung: p.Spec.Rung, Quiet: quiet}
	}
	sites, errs := r.hook.Insert(proc, wants)
	for i, sp := range spots {
		pl := sp.Placement(p, proc)
		pl.Err = errs[i]
		if errs[i] != nil && p.DebugServes(errs[i]) {
			if pl.Err = r.watchInstead(p, proc, sp, errs[i]); pl.Err == nil {
				continue
			}
		}
		if site := sites[i]; site != nil {
			pl.Site, pl.Rung = site, site.Rung
			if pl.Why == "" {
				pl.Why = site.Reason
			}
		}
		r.place(pl)
	}
	err := r.hook.OpenGates(proc, sites)
	return errors.Join(err, r.upgradePlaced(p, proc, sites)) // of the sites that were armed
}

// place adds a placement to its site and its probe.
func (r *Planter) place(pl *probe.Placement) {
	space := pl.Proc.Space
	if space.ID == 0 {
		r.spaces++
		space.ID = r.spaces
	}
	pl.Space = space.ID
	if pl.Site != nil {
		probe.Of(pl.Site).Add(pl)
	}
	pl.Probe.Places = append(pl.Probe.Places, pl)
}

// Forked implements inferior.Room.
func (r *Planter) Forked(parent, child *inferior.Process) {
	r.inherit(parent, child)
	r.inheritKernel(parent, child)
}

// inherit gives a forked child's sites the placements of the parent's.
func (r *Planter) inherit(parent, child *inferior.Process) {
	for _, site := range child.Space.Table.Sites() {
		g := &probe.Consumers{Plain: true}
		site.Tag = g
		old := parent.Space.Table.At(site.Addr)
		if child.Leaving || old == nil || old.Tag == nil {
			continue // the child is let go before it executes anything
		}
		probe.Of(old).Shared = nil // the child adds to this counter, too
		for _, pl := range probe.Of(old).List {
			c := &probe.Placement{Probe: pl.Probe, Proc: child, Place: pl.Place, Hook: pl.Hook, Behind: pl.Behind, Aside: pl.Aside, Site: site, Rung: pl.Rung, Why: pl.Why, Child: true}
			switch {
			case pl.Hook != nil, pl.Probe.Gone, !r.covers(pl.Probe, child): // Strip takes these out
				g.Add(c)
			default:
				r.place(c)
			}
		}
	}
}
