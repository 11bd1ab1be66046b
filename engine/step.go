package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// A step that a tracer asks for is made without the CPU's single step, which on
// arm64 nobody survives whose tracer dies in the middle of it: where the next
// instruction will be is worked out (arch.ISA.Next), a site of our own is put
// there, and the task is let go. What comes first ends the step: that site, a
// probe that stops, a signal.

// Step implements Session.
func (s *session) Step(tid int) error {
	return s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err == nil && !t.User {
			err = ErrNotStopped
		}
		if err == nil {
			err = s.step(t)
		}
		if err != nil {
			return fmt.Errorf("step task %d: %w", tid, err)
		}
		s.tell(s.stoppedEvent(t), true)
		return nil
	})
}

// step has a task that a tracer keeps stopped execute one instruction.
func (s *session) step(t *inferior.Task) error {
	at, err := s.xol.ShownPC(t)
	if err != nil {
		return err
	}
	kept := t.Kept
	if site := t.Process.Space.Table.At(at); site != nil && site.Armed() && !xol.InSlot(t) {
		// A hit first: it may stop, and may change where the task goes on.
		if err := s.jump.MakeRoom(t.Process, []arch.Addr{at}, 1); err != nil {
			return err
		}
		if err := s.loop.RunTo(t, func() bool { return xol.InSlot(t) || t.Kept != kept || s.xol.Elsewhere(t, at) }); err != nil {
			return err
		}
		if t.Kept != kept || s.xol.Elsewhere(t, at) {
			return nil
		}
	}
	next, err := s.xol.Next(t, at)
	if err != nil {
		return err
	}
	return s.stepTo(t, next)
}

// stepTo lets a task run to where its next instruction is.
func (s *session) stepTo(t *inferior.Task, next arch.Addr) error {
	p, kept, arrived := t.Process, t.Kept, false
	pl, err := s.plantStep(p, next, func(u *inferior.Task, site *breakpoint.Site) (bool, error) {
		if u != t {
			return false, nil
		}
		if arrived = true; len(probe.Of(site).List) > 1 {
			return false, nil // a probe's, too: it has been hit
		}
		t.SetPC(site.Addr)
		return true, s.loop.Resume(t, 0)
	})
	if err != nil {
		return err
	}
	err = s.loop.RunTo(t, func() bool { return arrived || t.Kept != kept || t.Process != p || t.Stop.Kind == ptrace.Exec })
	if t.State == inferior.Stopped && pl.Site != nil && len(probe.Of(pl.Site).List) == 1 {
		err = errors.Join(err, s.xol.LeaveSlot(t, false)) // which is going to be another's
	}
	if s.loop.Procs[p.PID] != p {
		return err
	}
	return errors.Join(err, s.unplace(pl))
}

// plantStep puts a site of our own where a step ends.
func (s *session) plantStep(p *inferior.Process, at arch.Addr, f probe.Hook) (*probe.Placement, error) {
	if m := p.ModuleAt(at); m != nil && s.isa.MinInst() > 1 {
		if fn, ok := m.File.FunctionAt(at - m.Bias); ok && at-m.Bias != fn.Addr {
			code := make([]byte, min(fn.Size, 1<<20))
			if m.File.Text(fn.Addr, code) == nil {
				if _, inside := s.isa.Exclusive(code, fn.Addr, at-m.Bias); inside {
					return nil, fmt.Errorf("%w: put a probe behind it", breakpoint.ErrExclusive)
				}
			}
		}
	}
	if err := s.guardSpace(p, at, 1); err != nil {
		return nil, err
	}
	sites, errs := s.insert(p, []breakpoint.Want{{Addr: at}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	pl := &probe.Placement{Proc: p, Place: probe.Place{Addr: at}, Hook: f, Site: sites[0], Rung: sites[0].Rung}
	probe.Of(sites[0]).Add(pl)
	return pl, s.openGates(p, sites)
}

// jumpAgain makes jumps again of the sites that have made room for steps, and of
// gates that no probe's have taken with them, when no task of the process is kept stopped
// any more.
func (s *session) jumpAgain(p *inferior.Process) error {
	if !s.jump.AnyNear(p) || !jump.Enabled {
		return nil
	}
	for _, t := range p.Tasks {
		if t.User {
			return nil
		}
	}
	var sites []*breakpoint.Site
	for _, site := range s.jump.TakeNear(p) {
		if site.Armed() && !site.Jumps() && !slices.Contains(sites, site) {
			sites = append(sites, site)
		}
	}
	err := s.jump.Upgrade(p, sites)
	if err == nil {
		err = s.hookGated(p)
	}
	if ptrace.IsGone(err) {
		return nil
	}
	return err
}
