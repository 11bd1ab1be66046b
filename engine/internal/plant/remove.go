package plant

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// KeepCounts adds up what was counted behind jumps, at the session's end, and frees the counters'
// memory.
func (r *Planter) KeepCounts() {
	for _, p := range r.Probes {
		for _, pl := range p.Places {
			pl.Freeze()
		}
	}
	r.inproc.CloseCounters()
}

// unplaceAll takes placements off their sites. It returns the counters that no placement uses any
// more.
func (r *Planter) unplaceAll(list []*probe.Placement) (unused []*inproc.Tally, err error) {
	var errs []error
	for _, pl := range list {
		c := pl.Counter.In
		errs = append(errs, r.Unplace(pl))
		if c != nil && c.Users == 0 { // the placement was the last
			unused = append(unused, c)
		}
	}
	return unused, errors.Join(errs...)
}

// ForgetClient forgets what a client may, if it has no probe any more.
func (r *Planter) ForgetClient(by any) {
	if by == nil || slices.ContainsFunc(r.Probes, func(p *probe.Probe) bool { return p.For == by }) {
		return
	}
	for _, p := range r.loop.Procs {
		delete(p.Allowed, by)
	}
}

// unshare unmaps what only a closed handler has had in spaces, when nothing leads to its code any
// more. Where a task stands in such code, the mappings stay.
func (r *Planter) unshare(h *inproc.Handler) error {
	x, ok := h.In.Maps.(*handler.Interpreted)
	if !ok || r.inproc.Resident {
		return nil
	}
	used := slices.ContainsFunc(r.Probes, func(p *probe.Probe) bool {
		y := p.Handler
		return y != nil && y != h && !y.Shut && y.Native && y.In.Maps.(*handler.Interpreted).Set == x.Set
	})
	var errs []error
	for _, p := range r.loop.Procs {
		space := p.Space
		if p.Silent || r.anyInTrampoline(space) {
			continue
		}
		list := r.inproc.TakeLibraries(space, h)
		if !used {
			regions := r.inproc.TakeRegions(space, x.Set)
			list = append(list, regions...)
		}
		for _, x := range list {
			errs = append(errs, r.inproc.UnmapIn(space, x))
		}
		if space.Guard.Data != 0 && len(list) > 0 { // last: a next tracer that finds the old list checks what is mapped there
			errs = append(errs, r.inproc.NoteRegions(space))
		}
	}
	return errors.Join(errs...)
}

// anyInTrampoline reports whether a task of a space stands in a trampoline, as a task does that was
// stopped there when the jump was planted.
func (r *Planter) anyInTrampoline(space *inferior.Space) bool {
	for _, p := range r.loop.Sharing(space) {
		for _, t := range p.Tasks {
			if t.State != inferior.Stopped {
				continue
			}
			if pc, err := t.PC(); err != nil || space.Table.InTrampoline(pc) {
				return true
			}
		}
	}
	return false
}

// manyRetired is how many slots of removed sites may wait for a sweep.
const manyRetired = 4096

// sweep frees the slots of removed sites, in a pause. Tasks are moved out of them.
func (r *Planter) sweep(space *inferior.Space) error {
	return r.loop.WhileHalted(func(pause breakpoint.Pause) error {
		var errs []error
		for _, p := range r.loop.Sharing(space) {
			for _, t := range p.Tasks {
				if t.AtEvent() {
					errs = append(errs, r.xol.LeaveSlot(t, true))
				}
			}
		}
		err := errors.Join(errs...)
		if err == nil {
			space.Table.Sweep(pause) // it frees none if a task is stuck
		}
		return err
	}, space)
}

// Unplace takes a placement off its site, and removes the site if no placement is left there.
func (r *Planter) Unplace(pl *probe.Placement) error {
	site, err := r.takeOff(pl)
	if site == nil {
		return err
	}
	return r.hook.RemoveSite(pl.Proc.Space, site)
}

// takeOff takes a placement off what serves it. It returns the site if no placement is left there:
// the caller removes it.
func (r *Planter) takeOff(pl *probe.Placement) (*breakpoint.Site, error) {
	if pl.Rung == breakpoint.Hardware {
		return nil, r.watch.Remove(pl.Proc, pl)
	}
	if pl.Link != nil {
		r.uprobe.Cut(pl)
		return nil, nil
	}
	site := pl.Leave()
	if r.loop.Procs[pl.Proc.PID] != pl.Proc {
		return nil, nil
	}
	return site, nil
}

// Left implements inferior.Room: it forgets where probes are in a space that goes away; what
// they counted stays. Of children, placements without a hit are forgotten, but for some (probe.Spare).
func (r *Planter) Left(proc *inferior.Process, last bool) {
	over := last && !proc.Lent // no task counts on
	var unused []*inproc.Tally
	for _, p := range r.Probes {
		p.Places = slices.DeleteFunc(p.Places, func(pl *probe.Placement) bool {
			if pl.Proc != proc {
				return false
			}
			if c := pl.Counter.In; over && r.jump.OwnCounter(pl) {
				if pl.Freeze(); c.Users == 0 {
					unused = append(unused, c)
				}
			}
			pl.Site, pl.Over = nil, true
			r.uprobe.Cut(pl)
			return pl.Count() == 0 && (pl.Child || len(proc.Ancestors) > 0 && p.Spare(pl))
		})
	}
	r.inproc.SpareCounters(unused)
	r.uprobe.CloseLater()
}

// WithoutHandler takes a handler out of the runs of all jumps, which go on counting. It returns the
// uprobes of a handler in the kernel, which the caller closes.
func (r *Planter) WithoutHandler(h *inproc.Handler) (links []*kernel.Link, err error) {
	if h.Kernel != nil {
		for _, p := range r.Probes {
			for _, pl := range p.Places {
				if p.Handler == h {
					r.uprobe.Cut(pl)
				}
			}
		}
		return r.uprobe.Take(), nil
	}
	if !h.Native {
		return nil, nil
	}
	h.Shut = true
	var errs []error
	for _, proc := range r.loop.Procs {
		sites := proc.Space.Table.Sharing(jumpsOf(proc.Space, h))
		if len(sites) == 0 {
			continue
		}
		err := r.jump.Downgrade(proc.Space, sites, "")
		if err == nil {
			err = r.jump.Upgrade(proc, sites)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return nil, r.unshare(h)
}

// jumpsOf returns the sites of a space that are jumps and run a handler.
func jumpsOf(space *inferior.Space, h *inproc.Handler) (sites []*breakpoint.Site) {
	for _, site := range space.Table.Sites() {
		if site.Jumps() && slices.ContainsFunc(probe.Of(site).List, func(pl *probe.Placement) bool { return pl.Hook == nil && pl.Probe.Handler == h }) {
			sites = append(sites, site)
		}
	}
	return sites
}

// WaitLinks returns when no uprobe of a process that has left counts any more.
func (r *Planter) WaitLinks() { r.uprobe.Wait() }
