package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/watch"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Where the code can't be patched, as in memory that is shared (the kernel answers EIO),
// or under another debugger's trap, a debug register serves the probe if one is free.

// watchInstead puts a debug register where a site could not be planted.
func (s *session) watchInstead(p *probe.Probe, proc *inferior.Process, sp probe.Target, why error) error {
	if sp.Why == "" {
		sp.Why = jump.Reason(why)
	}
	err := s.plantWatch(p, proc, []probe.Target{sp})
	switch {
	case !errors.Is(err, watch.ErrDebug):
		return err
	case errors.Is(why, breakpoint.ErrForeign):
		return fmt.Errorf("probe at %s: %w", sp.Addr, watch.ErrForeignFull)
	}
	return fmt.Errorf("%w, and %w", why, watch.ErrDebug)
}

// refused takes its placements off a site that the kernel does not let be patched.
func (s *session) refused(proc *inferior.Process, site *breakpoint.Site, why error) error {
	var errs []error
	for _, pl := range slices.Clone(probe.Of(site).List) {
		if pl.Hook != nil {
			errs = append(errs, why)
			continue
		}
		counters, err := s.unplaceAll([]*probe.Placement{pl})
		s.inproc.SpareCounters(counters)
		errs = append(errs, err)
		pl.Rung, pl.Why, pl.Err = breakpoint.Auto, "", why
		p := pl.Probe
		if !p.DebugServes(why) {
			continue
		}
		if pl.Err = s.watchInstead(p, proc, pl.Target(), why); pl.Err == nil {
			instead := p.Places[len(p.Places)-1]
			instead.Hits.Add(pl.Count())
			p.Places = slices.DeleteFunc(p.Places, func(other *probe.Placement) bool { return other == pl })
		}
	}
	return errors.Join(errs...)
}
