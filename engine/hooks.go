package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// hook plants sites of the engine's own.
func (s *session) hook(p *inferior.Process, spots []probe.Target, f probe.Hook) error {
	if len(spots) == 0 {
		return nil
	}
	if !p.Space.Guard.Installed {
		if err := s.guardSpace(p, spots[0].Addr, len(spots)); err != nil {
			return err
		}
	}
	wants := make([]breakpoint.Want, len(spots))
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig}
	}
	sites, errs := s.insert(p, wants)
	for i, site := range sites {
		if site != nil && !s.hooked(p, site.Addr) {
			probe.Of(site).Add(&probe.Placement{Proc: p, Place: probe.Place{Name: spots[i].Name, Addr: site.Addr}, Hook: f, Site: site, Rung: site.Rung})
		}
	}
	return errors.Join(errs...)
}

func (s *session) hooked(p *inferior.Process, addr arch.Addr) bool {
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
