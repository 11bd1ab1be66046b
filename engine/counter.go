package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Counters of hits behind jumps. All probes of a site are hit equally often, so that
// they share a counter, each with what that said when it came: to that a hit costs the
// same however many tracers count it. It is right as long as nobody adds to it but who
// passes that site in that space, for then it stands still while the site is a trap,
// as it is whenever a probe comes to it or leaves it. A forked child has a copy of the
// code, and adds to its parent's counter, too, for probes that both have; who comes
// after that gets another counter.

// tally is a counter that threads of the program add to.
type tally struct {
	of    *handler.Counters
	n     int
	users int // placements
}

func (c *tally) count() uint64 { return c.of.Count(c.n) }

// counter is where a placement's hits behind a jump are counted.
type counter struct {
	in   *tally // nil: nowhere yet
	base uint64 // what it said when the placement came
}

func (c counter) count() uint64 {
	if c.in == nil {
		return 0
	}
	return c.in.count() - c.base
}

// count is how often a placement was hit.
func (pl *placement) count() uint64 { return pl.hits.Load() + pl.counter.count() }

// freeze has a placement count no further behind a jump.
func (pl *placement) freeze() {
	c := pl.counter.in
	if c == nil {
		return
	}
	pl.hits.Add(pl.counter.count())
	pl.counter = counter{}
	c.users--
}

// keepCounts takes over what was counted behind jumps, at the session's end, and
// gives the memory back.
func (s *session) keepCounts() {
	for _, p := range s.probes {
		for _, pl := range p.places {
			pl.freeze()
		}
	}
	s.closeCounters()
}

// closeCounters gives the memory of counters back.
func (s *session) closeCounters() {
	s.lostHits = s.lost()
	for _, c := range s.counters {
		_ = c.Close()
	}
	s.counters = nil
}

// lost is how many hits are in no count.
func (s *session) lost() uint64 {
	if len(s.counters) > 0 {
		return s.counters[0].Set().Lost()
	}
	return s.lostHits
}

// ownCounter is whether only this space's tasks add to a placement's counter: no
// child of it has been forked.
func (s *session) ownCounter(pl *placement) bool {
	if pl.counter.in == nil || pl.site == nil {
		return false
	}
	g, ok := pl.site.Tag.(*tag)
	return ok && g.shared == pl.counter.in
}

// newCounter gives a placement a counter, while its site is a trap. What it lies in may
// have gone while its jump was being made, for which tasks run.
func (s *session) newCounter(pl *placement) (err error) {
	if pl.site == nil {
		return ErrGone
	}
	// What resident probes find out is one number each. An exit that is one only
	// sometimes is hit less often than the site.
	if pl.sometimes() || s.opts.Resident {
		return s.count(pl, nil)
	}
	g := pl.site.Tag.(*tag)
	if err := s.count(pl, g.shared); err != nil {
		return err
	}
	g.shared = pl.counter.in
	return nil
}

// count has a placement count in c; nil: in one of its own.
func (s *session) count(pl *placement, c *tally) (err error) {
	if c == nil {
		if c, err = s.takeCounter(); err != nil {
			return err
		}
	}
	c.users++
	pl.counter = counter{in: c, base: c.count()}
	return nil
}

// spares is how many counters there are that nobody uses.
func (s *session) spares() int { return len(s.spare) }

// takeCounter gets a counter that nobody uses.
func (s *session) takeCounter() (*tally, error) {
	if n := len(s.spare); n > 0 {
		c := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return c, nil
	}
	if k := len(s.counters); k > 0 {
		if n, ok := s.counters[k-1].Take(); ok {
			return &tally{of: s.counters[k-1], n: n}, nil
		}
	}
	if err := s.moreCounters(); err != nil {
		return nil, err
	}
	c := s.counters[len(s.counters)-1]
	n, _ := c.Take()
	return &tally{of: c, n: n}, nil
}

// moreCounters makes a set of them.
func (s *session) moreCounters() error {
	ctx, err := program.ContextOf(s.isa.Name())
	if err != nil {
		return err
	}
	var lines *maps.Set // the first counters have the next free one
	if len(s.counters) > 0 {
		lines = s.counters[0].Set()
	}
	c, err := handler.NewCounters(ctx, lines, s.newFile)
	if err == nil {
		s.counters = append(s.counters, c)
	}
	return err
}

// unplaceAll takes placements off their sites, and gives back the counters that were
// theirs only.
func (s *session) unplaceAll(list []*placement) (unused []*tally, err error) {
	var errs []error
	for _, pl := range list {
		c := pl.counter.in
		errs = append(errs, s.unplace(pl))
		if c != nil && c.users == 0 { // it was the last
			unused = append(unused, c)
		}
	}
	return unused, errors.Join(errs...)
}

// spareCounters keeps counters for others to whose code nothing leads any more.
// Forked children that were made while nobody traced may count on.
func (s *session) spareCounters(unused []*tally) {
	if !s.resident && !s.wentAside {
		s.spare = append(s.spare, unused...)
	}
}
