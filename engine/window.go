package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/uprobe"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// The window of probes: the time over which they count. Probes are planted one after
// the other, which takes seconds where there are many; so that their numbers can be
// compared, Begin and Finish cut all of them at one moment each, in a pause of all tasks
// that come to them. In that pause no task stands in code of ptracer's (whileHalted):
// a handler has run for a hit, or has not. One place that only counts needs no pause
// (onlyCounter).

// Begin implements Session.
func (s *session) Begin(ids ...event.ProbeID) (at int64, err error) {
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		begin := func(breakpoint.Pause) error {
			at = now()
			return forgetHits(list, at)
		}
		if onlyCounter(list) != nil {
			return begin(breakpoint.Pause{})
		}
		return s.loop.WhileHalted(begin, s.spacesOf(list)...)
	})
	return at, err
}

// onlyCounter is the one place of some probes, which only count behind a jump: with nothing
// to compare it with, and no handler that may be under way, there is no need for a pause.
func onlyCounter(list []*probe.Probe) *probe.Placement {
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

// forgetHits has probes begin with no hits, and their handlers with nothing found out. The
// tasks are halted, unless there is one counter only.
func forgetHits(list []*probe.Probe, at int64) error {
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

// Finish implements Session.
func (s *session) Finish(ids ...event.ProbeID) (at int64, err error) {
	var links []*kernel.Link
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		at, err = s.retire(slices.DeleteFunc(list, func(p *probe.Probe) bool { return p.Gone && len(p.Sites()) == 0 }))
		links = s.uprobe.Take()
		return err
	})
	return at, errors.Join(err, uprobe.Close(links))
}

// probesOf finds probes by their numbers.
func (s *session) probesOf(ids []event.ProbeID) (list []*probe.Probe, err error) {
	for _, id := range ids {
		p, err := s.probe(id)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// spacesOf are the spaces that probes are in.
func (s *session) spacesOf(list []*probe.Probe) (spaces []*inferior.Space) {
	seen := map[*inferior.Space]bool{}
	for _, p := range list {
		for _, pl := range p.Places {
			if s.loop.Procs[pl.Proc.PID] == pl.Proc && !seen[pl.Proc.Space] {
				seen[pl.Proc.Space] = true
				spaces = append(spaces, pl.Proc.Space)
			}
		}
	}
	return spaces
}

// retire takes probes out of all processes at one moment, which it tells. Where tasks
// can't be halted the sites stay as they are; what comes to them is not counted.
func (s *session) retire(list []*probe.Probe) (at int64, err error) {
	if pl := onlyCounter(list); pl != nil && len(probe.Of(pl.Site).List) == 1 && pl.Proc.Space.Table.Removable(pl.Site) {
		return s.retireCounter(list[0], pl)
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
		s.noteLost(proc.Space, own)
	}
	err = s.loop.WhileHalted(func(pause breakpoint.Pause) error {
		at = now()
		for _, p := range list {
			p.StopCounting()
		}
		var errs []error
		for proc, own := range places {
			all, err := s.takeOut(pause, proc, own, sites[proc])
			sites[proc] = all
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, s.spacesOf(list)...)
	errs := []error{err, s.jump.RestoreJumps(sites)}
	for _, proc := range s.loop.Procs {
		if proc.Space.Table.Retired() > manyRetired {
			errs = append(errs, s.sweep(proc.Space))
		}
	}
	return at, errors.Join(errs...)
}

// retireCounter is retire for the only place of a probe, without a pause. Tasks may be behind
// its jump, and count there: each of them is seen elsewhere before that counter is another's.
func (s *session) retireCounter(p *probe.Probe, only *probe.Placement) (at int64, err error) {
	space, c := only.Proc.Space, only.Counter.In
	s.noteLost(space, []*breakpoint.Site{only.Site})
	at = now()
	p.StopCounting()
	var errs []error
	for _, pl := range p.Places {
		site, err := s.takeOff(pl)
		if errs = append(errs, err); site != nil {
			errs = append(errs, space.Table.Remove([]*breakpoint.Site{site}))
		}
	}
	all, err := s.loop.Visit(space, func(*inferior.Task) {})
	if err = errors.Join(append(errs, err)...); err == nil && all && c != nil && c.Users == 0 {
		s.inproc.SpareCounters([]*inproc.Tally{c})
	}
	if space.Table.Retired() > manyRetired {
		err = errors.Join(err, s.sweep(space))
	}
	return at, err
}

// takeOut takes placements, of one process whose tasks are halted, off their sites, which
// it gives back with those that they share jumps with. If not all tasks are halted, or
// jumps of others can't be taken away, nothing is.
func (s *session) takeOut(pause breakpoint.Pause, proc *inferior.Process, places []*probe.Placement, own []*breakpoint.Site) (all []*breakpoint.Site, err error) {
	var others []*breakpoint.Site
	if len(own) > 0 {
		all = proc.Space.Table.Sharing(own)
		if others = served(all); len(others) == 0 && pause.Stuck() > 0 && slices.ContainsFunc(all, (*breakpoint.Site).Jumps) {
			err = fmt.Errorf("%w: %w", jump.ErrStuck, tasks.ErrBusy)
		}
		if err = errors.Join(err, s.jump.Downgrade(proc.Space, others, "")); err != nil {
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
		site, err := s.takeOff(pl)
		if errs = append(errs, err); site != nil {
			removed = append(removed, site)
		}
		if c != nil && c.Users == 0 { // it was the last
			unused = append(unused, c)
		}
	}
	if len(removed) > 0 {
		errs = append(errs, proc.Space.Table.Clear(pause, removed))
	}
	if err = errors.Join(errs...); err == nil {
		s.inproc.SpareCounters(unused)
	}
	return all, err
}

// served are those of the sites that are jumps for a probe which is not gone.
func served(sites []*breakpoint.Site) (list []*breakpoint.Site) {
	for _, site := range sites {
		if site.Jumps() && slices.ContainsFunc(probe.Of(site).List, func(pl *probe.Placement) bool { return pl.Hook != nil || !pl.Probe.Gone }) {
			list = append(list, site)
		}
	}
	return list
}
