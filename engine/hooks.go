package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

type hookFunc func(*inferior.Task, *breakpoint.Site) (moved bool, err error)

// hook plants sites of the engine's own.
func (s *session) hook(p *inferior.Process, spots []spot, f hookFunc) error {
	if len(spots) == 0 {
		return nil
	}
	if !p.Space.Guard.Installed {
		if err := s.guardSpace(p, spots[0].addr, len(spots)); err != nil {
			return err
		}
	}
	wants := make([]breakpoint.Want, len(spots))
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.addr, Orig: sp.orig}
	}
	sites, errs := s.insert(p, wants)
	for i, site := range sites {
		if site != nil && !s.hooked(p, site.Addr) {
			site.Tag.(*tag).add(&placement{proc: p, place: place{name: spots[i].name, addr: site.Addr}, hook: f, site: site, rung: site.Rung})
		}
	}
	return errors.Join(errs...)
}

func (s *session) hooked(p *inferior.Process, addr arch.Addr) bool {
	site := p.Space.Table.At(addr)
	if site == nil || site.Tag == nil {
		return false
	}
	for _, pl := range site.Tag.(*tag).list {
		if pl.hook != nil {
			return true
		}
	}
	return false
}
