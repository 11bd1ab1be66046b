package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
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
	pl, err := s.hook.PlantStep(p, next, func(u *inferior.Task, site *breakpoint.Site) (bool, error) {
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
	return errors.Join(err, s.plant.Unplace(pl))
}
