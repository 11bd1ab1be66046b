package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// A session that lasts gives back what probes and handlers have had that nobody
// asks for any more: counters, memory that is mapped in the program, and the
// helpers' code there.

var errStillThere = errors.New("the probe has not been unregistered")

// Forget implements Session.
func (s *session) Forget(id event.ProbeID) error {
	return s.loop.Do(func() error {
		p, err := s.probe(id)
		if err != nil {
			return err
		}
		if !p.Gone {
			return fmt.Errorf("forget %d: %w", id, errStillThere)
		}
		s.probes[id-1] = &probe.Probe{ID: id, Spec: ProbeSpec{Location: p.Spec.Location}, Loc: p.Loc, Gone: true}
		s.forgetWho(p.Spec.By)
		return nil
	})
}

// forgetWho forgets what somebody may, if he has no probe any more.
func (s *session) forgetWho(by any) {
	if by == nil || slices.ContainsFunc(s.probes, func(p *probe.Probe) bool { return p.Spec.By == by }) {
		return
	}
	for _, p := range s.loop.Procs {
		delete(p.Allowed, by)
	}
}

// unshare takes out of all spaces what only a handler has had in them that is
// closed, and to whose code nothing leads any more. Where a task stands in such
// code it stays.
func (s *session) unshare(h *inproc.Handler) error {
	x, ok := h.In.Maps.(*handler.Interpreted)
	if !ok || s.inproc.Resident {
		return nil
	}
	used := slices.ContainsFunc(s.probes, func(p *probe.Probe) bool {
		y := p.Handler
		return y != nil && y != h && !y.Shut && y.Native && y.In.Maps.(*handler.Interpreted).Set == x.Set
	})
	var errs []error
	for _, p := range s.loop.Procs {
		space := p.Space
		if p.Silent || s.anyInRun(space) {
			continue
		}
		list := s.inproc.TakeLibraries(space, h)
		if !used {
			regions := s.inproc.TakeRegions(space, x.Set)
			list = append(list, regions...)
		}
		for _, r := range list {
			errs = append(errs, s.inproc.UnmapIn(space, r))
		}
		if space.Guard.Data != 0 && len(list) > 0 { // behind it: a next tracer that finds the old list looks what is there
			errs = append(errs, s.inproc.NoteRegions(space))
		}
	}
	return errors.Join(errs...)
}

// anyInRun is whether a task of a space stands behind a jump: one that was stopped
// there when that was planted.
func (s *session) anyInRun(space *inferior.Space) bool {
	for _, p := range s.loop.Sharing(space) {
		for _, t := range p.Tasks {
			if t.State != inferior.Stopped {
				continue
			}
			if pc, err := t.PC(); err != nil || space.Table.InRun(pc) {
				return true
			}
		}
	}
	return false
}
