package plant

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// OnlyCounter returns the one placement of a list of probes that only counts behind a jump, or nil.
// Nothing is compared with its count, and no handler can be in progress: it needs no pause.
func OnlyCounter(list []*probe.Probe) *probe.Placement {
	if len(list) != 1 || list[0].Handler != nil {
		return nil
	}
	var only *probe.Placement
	for _, pl := range list[0].Places {
		if pl.Over || pl.Err != nil {
			continue
		}
		if only != nil || pl.Site == nil || !pl.Site.Jumps() {
			return nil
		}
		only = pl
	}
	return only
}

// ForgetHits sets the counts of probes to 0 and makes their handlers begin anew at the time at, in
// ns. The caller has halted all tasks that can come to the probes, unless OnlyCounter holds.
func ForgetHits(list []*probe.Probe, at int64) error {
	var errs []error
	seen := map[*inproc.Handler]bool{nil: true}
	for _, p := range list {
		p.Spec.Held = false
		for _, pl := range p.Places {
			pl.Hits.Store(0)
			if c := pl.Counter.In; c != nil {
				pl.Counter.Base = c.Count()
			}
		}
		if h := p.Handler; !seen[h] {
			seen[h] = true
			errs = append(errs, h.Reset(at))
		}
	}
	return errors.Join(errs...)
}

// SpacesOf returns the spaces in which probes are.
func (r *Planter) SpacesOf(list []*probe.Probe) (spaces []*inferior.Space) {
	seen := map[*inferior.Space]bool{}
	for _, p := range list {
		for _, pl := range p.Places {
			if r.loop.Procs[pl.Proc.PID] == pl.Proc && !seen[pl.Proc.Space] {
				seen[pl.Proc.Space] = true
				spaces = append(spaces, pl.Proc.Space)
			}
		}
	}
	return spaces
}

// Retire takes probes out of all processes at one moment, which it returns in ns. Where tasks can't
// be halted the sites stay, but what comes to them is not counted.
func (r *Planter) Retire(list []*probe.Probe) (at int64, err error) {
	if pl := OnlyCounter(list); pl != nil && len(probe.Of(pl.Site).List) == 1 && pl.Proc.Space.Table.Removable(pl.Site) {
		return r.retireCounter(list[0], pl)
	}
	sites := map[*inferior.Process][]*breakpoint.Site{}
	places := map[*inferior.Process][]*probe.Placement{}
	for _, p := range list {
		for proc, own := range p.Sites() {
			sites[proc] = append(sites[proc], own...)
		}
		for _, pl := range p.Places {
			places[pl.Proc] = append(places[pl.Proc], pl)
		}
	}
	for proc, own := range sites {
		r.NoteLost(proc.Space, own)
	}
	err = r.loop.WhileHalted(func(pause breakpoint.Pause) error {
		at = ptrace.Now()
		for _, p := range list {
			p.StopCounting()
		}
		var errs []error
		for proc, own := range places {
			all, err := r.takeOut(pause, proc, own, sites[proc])
			sites[proc] = all
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, r.SpacesOf(list)...)
	errs := []error{err, r.jump.RestoreJumps(sites)}
	for _, proc := range r.loop.Procs {
		if proc.Space.Table.Retired() > manyRetired {
			errs = append(errs, r.sweep(proc.Space))
		}
	}
	return at, errors.Join(errs...)
}

// retireCounter is Retire for the only placement of a probe, without a pause. Tasks may be behind
// the jump and count there: each of them is seen elsewhere before the counter is given to another.
func (r *Planter) retireCounter(p *probe.Probe, only *probe.Placement) (at int64, err error) {
	space, c := only.Proc.Space, only.Counter.In
	r.NoteLost(space, []*breakpoint.Site{only.Site})
	at = ptrace.Now()
	p.StopCounting()
	var errs []error
	for _, pl := range p.Places {
		site, err := r.takeOff(pl)
		if errs = append(errs, err); site != nil {
			errs = append(errs, space.Table.Remove([]*breakpoint.Site{site}))
		}
	}
	all, err := r.loop.Visit(space, func(*inferior.Task) {})
	if err = errors.Join(append(errs, err)...); err == nil && all && c != nil && c.Users == 0 {
		r.inproc.SpareCounters([]*inproc.Tally{c})
	}
	if space.Table.Retired() > manyRetired {
		err = errors.Join(err, r.sweep(space))
	}
	return at, err
}

// takeOut takes placements of one process off their sites. The process's tasks are halted. It
// returns those sites, with the sites that share jumps with them. If not all tasks are halted, or
// the jumps of others can't be taken away, nothing is changed.
func (r *Planter) takeOut(pause breakpoint.Pause, proc *inferior.Process, places []*probe.Placement, own []*breakpoint.Site) (all []*breakpoint.Site, err error) {
	var others []*breakpoint.Site
	if len(own) > 0 {
		all = proc.Space.Table.Sharing(own)
		if others = served(all); len(others) == 0 && pause.Stuck() > 0 && slices.ContainsFunc(all, (*breakpoint.Site).Jumps) {
			err = fmt.Errorf("%w: %w", jump.ErrStuck, tasks.ErrBusy)
		}
		if err = errors.Join(err, r.jump.Downgrade(proc.Space, others, "")); err != nil {
			for _, pl := range places {
				pl.Freeze()
			}
			return nil, err
		}
	}
	var removed []*breakpoint.Site
	var unused []*inproc.Tally
	var errs []error
	for _, pl := range places {
		c := pl.Counter.In
		site, err := r.takeOff(pl)
		if errs = append(errs, err); site != nil {
			removed = append(removed, site)
		}
		if c != nil && c.Users == 0 { // the placement was the last
			unused = append(unused, c)
		}
	}
	if len(removed) > 0 {
		errs = append(errs, proc.Space.Table.Clear(pause, removed))
	}
	if err = errors.Join(errs...); err == nil {
		r.inproc.SpareCounters(unused)
	}
	return all, err
}

// served returns those of the sites that are jumps and have a probe that is not gone.
func served(sites []*breakpoint.Site) (list []*breakpoint.Site) {
	for _, site := range sites {
		if site.Jumps() && slices.ContainsFunc(probe.Of(site).List, func(pl *probe.Placement) bool { return pl.Hook != nil || !pl.Probe.Gone }) {
			list = append(list, site)
		}
	}
	return list
}
