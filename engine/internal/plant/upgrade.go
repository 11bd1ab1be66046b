package plant

import (
	"cmp"
	"errors"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/failure"
)

// JumpAgain makes jumps again of the sites of a process that had made room for a step or for
// another site, and of gates. It does nothing while a tracer keeps a task of the process stopped.
func (r *Planter) JumpAgain(p *inferior.Process) error {
	if !r.jump.AnyNear(p) || !jump.Enabled {
		return nil
	}
	for _, t := range p.Tasks {
		if t.User {
			return nil
		}
	}
	var sites []*breakpoint.Site
	for _, site := range r.jump.TakeNear(p) {
		if site.Armed() && !site.Jumps() && !slices.Contains(sites, site) {
			sites = append(sites, site)
		}
	}
	err := r.jump.Upgrade(p, sites)
	if err == nil {
		err = r.hook.HookGated(p)
	}
	if ptrace.IsGone(err) {
		return nil
	}
	return err
}

// upgradePlaced makes jumps of a probe's sites where its spec allows that, and traps of the others.
func (r *Planter) upgradePlaced(p *probe.Probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	err := r.upgradeThose(p, proc, sites)
	err = errors.Join(r.jump.Speak(proc, sites), err)
	if p.Spec.Rung == breakpoint.Jump {
		err = errors.Join(err, r.onlyJumps(p, proc))
	}
	return err
}

// upgradeThose makes jumps of those of a probe's sites that can be jumps, and of sites that have
// made room.
func (r *Planter) upgradeThose(p *probe.Probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	near := r.jump.TakeNear(proc)
	switch {
	case p.Spec.Rung == breakpoint.Auto && !jump.Enabled && !r.inproc.Resident || proc.Space.Guard.Data == 0:
		return nil
	case p.MayJump():
		sites = slices.Concat(near, sites) // the jump at a start may displace the sites behind it, too
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
	if err := r.jump.Upgrade(proc, list); err != nil {
		return err
	}
	return r.hook.HookGated(proc)
}

// onlyJumps takes a probe that wants nothing but jumps off the sites that are none.
func (r *Planter) onlyJumps(p *probe.Probe, proc *inferior.Process) error {
	var list []*probe.Placement
	for _, pl := range p.Places {
		if pl.Proc == proc && pl.Site != nil && !pl.Site.Jumps() {
			pl.Err = failure.Unsupportedf("%s", cmp.Or(pl.Why, jump.ErrStops.Error()))
			list = append(list, pl)
		}
	}
	counters, err := r.unplaceAll(list)
	if err == nil {
		r.inproc.SpareCounters(counters)
	}
	return err
}
