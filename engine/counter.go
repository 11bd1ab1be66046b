package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"
)

// Counters of hits behind jumps. All probes of a site are hit equally often, so that
// they share a counter, each with what that said when it came: to that a hit costs the
// same however many tracers count it. It is right as long as nobody adds to it but who
// passes that site in that space, for then it stands still while the site is a trap,
// as it is whenever a probe comes to it or leaves it. A forked child has a copy of the
// code, and adds to its parent's counter, too, for probes that both have; who comes
// after that gets another counter.

// keepCounts takes over what was counted behind jumps, at the session's end, and
// gives the memory back.
func (s *session) keepCounts() {
	for _, p := range s.probes {
		for _, pl := range p.Places {
			pl.Freeze()
		}
	}
	s.inproc.CloseCounters()
}

// ownCounter is whether only this space's tasks add to a placement's counter: no
// child of it has been forked.
func (s *session) ownCounter(pl *probe.Placement) bool {
	if pl.Counter.In == nil || pl.Site == nil {
		return false
	}
	g, ok := pl.Site.Tag.(*probe.Consumers)
	return ok && g.Shared == pl.Counter.In
}

// newCounter gives a placement a counter, while its site is a trap. What it lies in may
// have gone while its jump was being made, for which tasks run.
func (s *session) newCounter(pl *probe.Placement) (err error) {
	if pl.Site == nil {
		return ErrGone
	}
	// What resident probes find out is one number each. An exit that is one only
	// sometimes is hit less often than the site.
	if pl.Sometimes() || s.inproc.Resident {
		return s.count(pl, nil)
	}
	g := probe.Of(pl.Site)
	if err := s.count(pl, g.Shared); err != nil {
		return err
	}
	g.Shared = pl.Counter.In
	return nil
}

// count has a placement count in c; nil: in one of its own.
func (s *session) count(pl *probe.Placement, c *inproc.Tally) (err error) {
	if c == nil {
		if c, err = s.inproc.TakeCounter(); err != nil {
			return err
		}
	}
	c.Users++
	pl.Counter = probe.Counter{In: c, Base: c.Count()}
	return nil
}

// unplaceAll takes placements off their sites, and gives back the counters that were
// theirs only.
func (s *session) unplaceAll(list []*probe.Placement) (unused []*inproc.Tally, err error) {
	var errs []error
	for _, pl := range list {
		c := pl.Counter.In
		errs = append(errs, s.unplace(pl))
		if c != nil && c.Users == 0 { // it was the last
			unused = append(unused, c)
		}
	}
	return unused, errors.Join(errs...)
}
