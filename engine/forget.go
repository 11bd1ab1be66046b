package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
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
		if !p.gone {
			return fmt.Errorf("forget %d: %w", id, errStillThere)
		}
		s.probes[id-1] = &probe{id: id, spec: ProbeSpec{Location: p.spec.Location}, loc: p.loc, gone: true}
		s.forgetWho(p.spec.By)
		return nil
	})
}

// forgetWho forgets what somebody may, if he has no probe any more.
func (s *session) forgetWho(by any) {
	if by == nil || slices.ContainsFunc(s.probes, func(p *probe) bool { return p.spec.By == by }) {
		return
	}
	for _, p := range s.loop.Procs {
		delete(p.Allowed, by)
	}
}

// unshare takes out of all spaces what only a handler has had in them that is
// closed, and to whose code nothing leads any more. Where a task stands in such
// code it stays.
func (s *session) unshare(h *opened) error {
	x, ok := h.in.Maps.(*handler.Interpreted)
	if !ok || s.opts.Resident {
		return nil
	}
	used := slices.ContainsFunc(s.probes, func(p *probe) bool {
		y := p.handler
		return y != nil && y != h && !y.shut && y.native && y.in.Maps.(*handler.Interpreted).Set == x.Set
	})
	var errs []error
	for _, p := range s.loop.Procs {
		space := p.Space
		if p.Silent || s.anyInRun(space) {
			continue
		}
		list := s.takeLibraries(space, h)
		if !used {
			regions := s.takeRegions(space, x.Set)
			list = append(list, regions...)
		}
		for _, r := range list {
			errs = append(errs, s.unmapIn(space, r))
		}
		if space.Guard.Data != 0 && len(list) > 0 { // behind it: a next tracer that finds the old list looks what is there
			errs = append(errs, s.noteRegions(space))
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

// takeLibraries forgets the code that a handler has called in a space.
func (s *session) takeLibraries(space *inferior.Space, h *opened) (list []region) {
	s.libraries[space] = slices.DeleteFunc(s.libraries[space], func(l *library) bool {
		if !slices.Contains(h.variants, l.of) {
			return false
		}
		for _, at := range l.At {
			if addr, size, ok := space.Table.RemoveLibrary(at); ok {
				list = append(list, region{addr: addr, size: size})
			}
			break
		}
		return true
	})
	return list
}

// takeRegions forgets where a set's memory is in a space.
func (s *session) takeRegions(space *inferior.Space, set *maps.Set) (list []region) {
	s.regions[space] = slices.DeleteFunc(s.regions[space], func(r region) bool {
		if r.set == set {
			list = append(list, r)
		}
		return r.set == set
	})
	return list
}

// unmapIn unmaps memory of ours. It is no error that the process has ended.
func (s *session) unmapIn(space *inferior.Space, r region) error {
	err := s.remote.WithTask(s.loop.Sharing(space), func(t *inferior.Task) error {
		_, err := s.remote.Call(t, ptrace.SysMunmap, uint64(r.addr), uint64(r.size))
		return err
	})
	if ptrace.IsGone(err) {
		return nil
	}
	return err
}
