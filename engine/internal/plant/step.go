package plant

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// Single steps for tracers. A step is made without the CPU's single step: on arm64 a program does
// not survive that its tracer dies in the middle of one. The tracer works out where the next
// instruction will be (arch.ISA.Next), puts a site of its own there, and lets the task go. The step
// ends where the task stops first: at that site, at a probe that stops, or with a signal.

// Step makes a task that a tracer keeps stopped execute one instruction.
func (r *Planter) Step(t *inferior.Task) error {
	at, err := r.xol.ShownPC(t)
	if err != nil {
		return err
	}
	kept := t.Kept
	if site := t.Process.Space.Table.At(at); site != nil && site.Armed() && !xol.InSlot(t) {
		// The hit comes first: it may stop the task, and may change where the task goes on.
		if err := r.jump.MakeRoom(t.Process, []arch.Addr{at}, 1); err != nil {
			return err
		}
		if err := r.loop.RunTo(t, func() bool { return xol.InSlot(t) || t.Kept != kept || r.xol.Elsewhere(t, at) }); err != nil {
			return err
		}
		if t.Kept != kept || r.xol.Elsewhere(t, at) {
			return nil
		}
	}
	next, err := r.xol.Next(t, at)
	if err != nil {
		return err
	}
	return r.stepTo(t, next)
}

// stepTo lets a task run to the address of its next instruction.
func (r *Planter) stepTo(t *inferior.Task, next arch.Addr) error {
	p, kept, arrived := t.Process, t.Kept, false
	pl, err := r.hook.PlantStep(p, next, func(u *inferior.Task, site *breakpoint.Site) (bool, error) {
		if u != t {
			return false, nil
		}
		if arrived = true; len(probe.Of(site).List) > 1 {
			return false, nil // a probe is there, too: it has been hit
		}
		t.SetPC(site.Addr)
		return true, r.loop.Resume(t, 0)
	})
	if err != nil {
		return err
	}
	err = r.loop.RunTo(t, func() bool { return arrived || t.Kept != kept || t.Process != p || t.Stop.Kind == ptrace.Exec })
	if t.State == inferior.Stopped && pl.Site != nil && len(probe.Of(pl.Site).List) == 1 {
		err = errors.Join(err, r.xol.LeaveSlot(t, false)) // the slot is going to be another site's
	}
	if r.loop.Procs[p.PID] != p {
		return err
	}
	return errors.Join(err, r.Unplace(pl))
}
