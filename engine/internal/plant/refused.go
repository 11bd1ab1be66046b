package plant

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/watch"
)

// A debug register instead of a patch. The kernel refuses to patch memory that is mapped shared
// (EIO), and another debugger's trap may lie at the place. A debug register serves the probe there
// if one is free.

// watchInstead puts a probe into a debug register because no site could be planted.
func (r *Planter) watchInstead(p *probe.Probe, proc *inferior.Process, sp probe.Target, why error) error {
	if sp.Why == "" {
		sp.Why = jump.Reason(why)
	}
	err := r.plantWatch(p, proc, []probe.Target{sp})
	switch {
	case !errors.Is(err, watch.ErrDebug):
		return err
	case errors.Is(why, breakpoint.ErrForeign):
		return fmt.Errorf("probe at %s: %w", sp.Addr, watch.ErrForeignFull)
	}
	return fmt.Errorf("%w, and %w", why, watch.ErrDebug)
}

// Refused takes all placements off a site that the kernel does not let be patched. A debug register
// serves them if one is free, or they have the error.
func (r *Planter) Refused(proc *inferior.Process, site *breakpoint.Site, why error) error {
	var errs []error
	for _, pl := range slices.Clone(probe.Of(site).List) {
		if pl.Hook != nil {
			errs = append(errs, why)
			continue
		}
		counters, err := r.unplaceAll([]*probe.Placement{pl})
		r.inproc.SpareCounters(counters)
		errs = append(errs, err)
		pl.Rung, pl.Why, pl.Err = breakpoint.Auto, "", why
		p := pl.Probe
		if !p.DebugServes(why) {
			continue
		}
		if pl.Err = r.watchInstead(p, proc, pl.Target(), why); pl.Err == nil {
			instead := p.Places[len(p.Places)-1]
			instead.Hits.Add(pl.Count())
			p.Places = slices.DeleteFunc(p.Places, func(other *probe.Placement) bool { return other == pl })
		}
	}
	return errors.Join(errs...)
}
