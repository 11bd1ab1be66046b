package plant

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// PlantStep puts a site of our own where a step ends.
func (r *Planter) PlantStep(p *inferior.Process, at arch.Addr, f probe.Hook) (*probe.Placement, error) {
	if m := p.ModuleAt(at); m != nil && r.isa.MinInst() > 1 {
		if fn, ok := m.File.FunctionAt(at - m.Bias); ok && at-m.Bias != fn.Addr {
			code := make([]byte, min(fn.Size, 1<<20))
			if m.File.Text(fn.Addr, code) == nil {
				if _, inside := r.isa.Exclusive(code, fn.Addr, at-m.Bias); inside {
					return nil, fmt.Errorf("%w: put a probe behind it", breakpoint.ErrExclusive)
				}
			}
		}
	}
	if err := r.GuardSpace(p, at, 1); err != nil {
		return nil, err
	}
	sites, errs := r.Insert(p, []breakpoint.Want{{Addr: at}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	pl := &probe.Placement{Proc: p, Place: probe.Place{Addr: at}, Hook: f, Site: sites[0], Rung: sites[0].Rung}
	probe.Of(sites[0]).Add(pl)
	return pl, r.openGates(p, sites)
}

// Hook plants sites of the engine's own.
func (r *Planter) Hook(p *inferior.Process, spots []probe.Target, f probe.Hook) error {
	if len(spots) == 0 {
		return nil
	}
	if !p.Space.Guard.Installed {
		if err := r.GuardSpace(p, spots[0].Addr, len(spots)); err != nil {
			return err
		}
	}
	wants := make([]breakpoint.Want, len(spots))
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig}
	}
	sites, errs := r.Insert(p, wants)
	for i, site := range sites {
		if site != nil && !r.Hooked(p, site.Addr) {
			probe.Of(site).Add(&probe.Placement{Proc: p, Place: probe.Place{Name: spots[i].Name, Addr: site.Addr}, Hook: f, Site: site, Rung: site.Rung})
		}
	}
	return errors.Join(errs...)
}

func (r *Planter) Hooked(p *inferior.Process, addr arch.Addr) bool {
	site := p.Space.Table.At(addr)
	if site == nil || site.Tag == nil {
		return false
	}
	for _, pl := range probe.Of(site).List {
		if pl.Hook != nil {
			return true
		}
	}
	return false
}

// take takes a placement of the engine's own off its site, and the site out if it was the last.
func (r *Planter) take(pl *probe.Placement) error {
	site := pl.Leave()
	if site == nil || r.loop.Procs[pl.Proc.PID] != pl.Proc {
		return nil
	}
	return r.removeSite(pl.Proc.Space, site)
}

// removeSite takes a site out. Jumps that lean on what it has displaced are traps first.
func (r *Planter) removeSite(space *inferior.Space, site *breakpoint.Site) error {
	var leaning []*breakpoint.Site
	for _, other := range space.Table.Sharing([]*breakpoint.Site{site}) {
		if other != site && other.Jumps() {
			leaning = append(leaning, other)
		}
	}
	if err := r.jump.Downgrade(space, leaning, "another probe was near"); err != nil {
		return err
	}
	return space.Table.Remove([]*breakpoint.Site{site})
}
