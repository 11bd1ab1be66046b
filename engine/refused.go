package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Where the code can't be patched, as in memory that is shared (the kernel answers EIO),
// or under another debugger's trap, a debug register serves the probe if one is free.

// debugServes is whether a debug register may serve what could not be planted for a
// reason. Who asked for a trap or a jump gets no other thing where the kernel refuses it.
func (p *probe) debugServes(why error) bool {
	return errors.Is(why, breakpoint.ErrForeign) ||
		errors.Is(why, breakpoint.ErrRefused) && p.spec.Rung == breakpoint.Auto && !ptrace.IsGone(why)
}

// watchInstead puts a debug register where a site could not be planted.
func (s *session) watchInstead(p *probe, proc *inferior.Process, sp spot, why error) error {
	if sp.why == "" {
		sp.why = reason(why)
	}
	err := s.plantWatch(p, proc, []spot{sp})
	switch {
	case !errors.Is(err, ErrDebug):
		return err
	case errors.Is(why, breakpoint.ErrForeign):
		return fmt.Errorf("probe at %s: %w", sp.addr, errForeignFull)
	}
	return fmt.Errorf("%w, and %w", why, ErrDebug)
}

// speak plants the traps of sites that have been quiet. The placements of one that the
// kernel refuses go elsewhere, or are told why they are nowhere.
func (s *session) speak(proc *inferior.Process, sites []*breakpoint.Site) error {
	var errs []error
	for _, site := range sites {
		if s.loop.Procs[proc.PID] != proc {
			break
		}
		if err := proc.Space.Table.Speak(site); ptrace.IsGone(err) {
			errs = append(errs, err)
		} else if err != nil {
			errs = append(errs, s.refused(proc, site, err))
		}
	}
	return errors.Join(errs...)
}

// refused takes its placements off a site that the kernel does not let be patched.
func (s *session) refused(proc *inferior.Process, site *breakpoint.Site, why error) error {
	var errs []error
	for _, pl := range slices.Clone(site.Tag.(*tag).list) {
		if pl.hook != nil {
			errs = append(errs, why)
			continue
		}
		counters, err := s.unplaceAll([]*placement{pl})
		s.inproc.SpareCounters(counters)
		errs = append(errs, err)
		pl.rung, pl.why, pl.err = breakpoint.Auto, "", why
		p := pl.probe
		if !p.debugServes(why) {
			continue
		}
		if pl.err = s.watchInstead(p, proc, pl.spot(), why); pl.err == nil {
			instead := p.places[len(p.places)-1]
			instead.hits.Add(pl.count())
			p.places = slices.DeleteFunc(p.places, func(other *placement) bool { return other == pl })
		}
	}
	return errors.Join(errs...)
}

// spot is where a placement is.
func (pl *placement) spot() spot { return spot{place: pl.place, why: pl.why, gap: pl.gap} }
