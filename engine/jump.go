package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// upgradePlaced makes jumps of a probe's sites, where its spec lets it, and traps of
// the others.
func (s *session) upgradePlaced(p *probe.Probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	err := s.upgradeThose(p, proc, sites)
	err = errors.Join(s.jump.Speak(proc, sites), err)
	if p.Spec.Rung == breakpoint.Jump {
		err = errors.Join(err, s.onlyJumps(p, proc))
	}
	return err
}

// upgradeThose makes jumps of those of a probe's sites that can be, and of those that
// have made room.
func (s *session) upgradeThose(p *probe.Probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	near := s.jump.TakeNear(proc)
	switch {
	case p.Spec.Rung == breakpoint.Auto && !jump.Enabled && !s.inproc.Resident || proc.Space.Guard.Data == 0:
		return nil
	case p.MayJump():
		sites = slices.Concat(near, sites) // where a start has room for what is behind it, too
	default:
		sites = near
	}
	seen := map[*breakpoint.Site]bool{}
	var list []*breakpoint.Site
	for _, site := range sites {
		if site != nil && !seen[site] && site.Armed() {
			seen[site] = true
			list = append(list, site)
		}
	}
	if err := s.jump.Upgrade(proc, list); err != nil {
		return err
	}
	return s.hookGated(proc)
}

// onlyJumps takes what could not be made a jump from a probe that wants nothing
// else.
func (s *session) onlyJumps(p *probe.Probe, proc *inferior.Process) error {
	var list []*probe.Placement
	for _, pl := range p.Places {
		if pl.Proc == proc && pl.Site != nil && !pl.Site.Jumps() {
			pl.Err = fmt.Errorf("%w: %s", breakpoint.ErrUnsupported, cmp.Or(pl.Why, jump.ErrStops.Error()))
			list = append(list, pl)
		}
	}
	counters, err := s.unplaceAll(list)
	if err == nil {
		s.inproc.SpareCounters(counters)
	}
	return err
}
