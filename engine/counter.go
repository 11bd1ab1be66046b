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
