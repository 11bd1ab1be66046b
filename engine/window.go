package engine

import (
	"errors"
	"fmt"
	"slices"

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
func onlyCounter(list []*probe) *placement {
	if len(list) != 1 || list[0].handler != nil {
		return nil
	}
	var only *placement
	for _, pl := range list[0].places {
		if pl.over || pl.err != nil {
			continue
		}
		if only != nil || pl.site == nil || !pl.site.Jumps() {
			return nil
		}
		only = pl
	}
	return only
}

// forgetHits has probes begin with no hits, and their handlers with nothing found out. The
// tasks are halted, unless there is one counter only.
func forgetHits(list []*probe, at int64) error {
	var errs []error
	seen := map[*inproc.Handler]bool{nil: true}
	for _, p := range list {
		p.spec.Held = false
		for _, pl := range p.places {
			pl.hits.Store(0)
			if c := pl.counter.in; c != nil {
				pl.counter.base = c.Count()
			}
		}
		if h := p.handler; !seen[h] {
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
		at, err = s.retire(slices.DeleteFunc(list, func(p *probe) bool { return p.gone && len(p.sites()) == 0 }))
		links = s.links()
		return err
	})
	return at, errors.Join(err, closeLinks(links))
}

// probesOf finds probes by their numbers.
func (s *session) probesOf(ids []event.ProbeID) (list []*probe, err error) {
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
func (s *session) spacesOf(list []*probe) (spaces []*inferior.Space) {
	seen := map[*inferior.Space]bool{}
	for _, p := range list {
		for _, pl := range p.places {
			if s.loop.Procs[pl.proc.PID] == pl.proc && !seen[pl.proc.Space] {
				seen[pl.proc.Space] = true
				spaces = append(spaces, pl.proc.Space)
			}
		}
	}
	return spaces
}

// retire takes probes out of all processes at one moment, which it tells. Where tasks
// can't be halted the sites stay as they are; what comes to them is not counted.
func (s *session) retire(list []*probe) (at int64, err error) {
	if pl := onlyCounter(list); pl != nil && len(pl.site.Tag.(*tag).list) == 1 && pl.proc.Space.Table.Removable(pl.site) {
		return s.retireCounter(list[0], pl)
	}
	sites := map[*inferior.Process][]*breakpoint.Site{}
	places := map[*inferior.Process][]*placement{}
	for _, p := range list {
		for proc, own := range p.sites() {
			sites[proc] = append(sites[proc], own...)
		}
		for _, pl := range p.places {
			places[pl.proc] = append(places[pl.proc], pl)
		}
	}
	for proc, own := range sites {
		s.noteLost(proc.Space, own)
	}
	err = s.loop.WhileHalted(func(pause breakpoint.Pause) error {
		at = now()
		for _, p := range list {
			p.stopCounting()
		}
		var errs []error
		for proc, own := range places {
			all, err := s.takeOut(pause, proc, own, sites[proc])
			sites[proc] = all
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, s.spacesOf(list)...)
	errs := []error{err, s.restoreJumps(sites)}
	for _, proc := range s.loop.Procs {
		if proc.Space.Table.Retired() > manyRetired {
			errs = append(errs, s.sweep(proc.Space))
		}
	}
	return at, errors.Join(errs...)
}

// retireCounter is retire for the only place of a probe, without a pause. Tasks may be behind
// its jump, and count there: each of them is seen elsewhere before that counter is another's.
func (s *session) retireCounter(p *probe, only *placement) (at int64, err error) {
	space, c := only.proc.Space, only.counter.in
	s.noteLost(space, []*breakpoint.Site{only.site})
	at = now()
	p.stopCounting()
	var errs []error
	for _, pl := range p.places {
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

// stopCounting has a probe count no further at traps. What a
// handler in the kernel has found out is read now: its links are taken away later.
func (p *probe) stopCounting() {
	p.gone, p.spots = true, nil
	for _, pl := range p.places {
		if pl.site != nil && pl.site.Tag != nil {
			pl.site.Tag.(*tag).mark()
		}
	}
	if h := p.handler; h != nil && h.Kernel != nil {
		h.KeepResult()
	}
}

// takeOut takes placements, of one process whose tasks are halted, off their sites, which
// it gives back with those that they share jumps with. If not all tasks are halted, or
// jumps of others can't be taken away, nothing is.
func (s *session) takeOut(pause breakpoint.Pause, proc *inferior.Process, places []*placement, own []*breakpoint.Site) (all []*breakpoint.Site, err error) {
	var others []*breakpoint.Site
	if len(own) > 0 {
		all = proc.Space.Table.Sharing(own)
		if others = served(all); len(others) == 0 && pause.Stuck() > 0 && slices.ContainsFunc(all, (*breakpoint.Site).Jumps) {
			err = fmt.Errorf("%w: %w", errStuck, tasks.ErrBusy)
		}
		if err = errors.Join(err, s.downgrade(proc.Space, others, "")); err != nil {
			for _, pl := range places {
				pl.freeze()
			}
			return nil, err
		}
	}
	var removed []*breakpoint.Site
	var unused []*inproc.Tally
	var errs []error
	for _, pl := range places {
		c := pl.counter.in
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
		if site.Jumps() && slices.ContainsFunc(site.Tag.(*tag).list, func(pl *placement) bool { return pl.hook != nil || !pl.probe.gone }) {
			list = append(list, site)
		}
	}
	return list
}
