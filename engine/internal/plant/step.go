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

// A step that a tracer asks for is made without the CPU's single step, which on
// arm64 nobody survives whose tracer dies in the middle of it: where the next
// instruction will be is worked out (arch.ISA.Next), a site of our own is put
// there, and the task is let go. What comes first ends the step: that site, a
// probe that stops, a signal.

// Step has a task that a tracer keeps stopped execute one instruction.
func (r *Planter) Step(t *inferior.Task) error {
	at, err := r.xol.ShownPC(t)
	if err != nil {
		return err
	}
	kept := t.Kept
	if site := t.Process.Space.Table.At(at); site != nil && site.Armed() && !xol.InSlot(t) {
		// A hit first: it may stop, and may change where the task goes on.
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

// stepTo lets a task run to where its next instruction is.
func (r *Planter) stepTo(t *inferior.Task, next arch.Addr) error {
	p, kept, arrived := t.Process, t.Kept, false
	pl, err := r.hook.PlantStep(p, next, func(u *inferior.Task, site *breakpoint.Site) (bool, error) {
		if u != t {
			return false, nil
		}
		if arrived = true; len(probe.Of(site).List) > 1 {
			return false, nil // a probe's, too: it has been hit
		}
		t.SetPC(site.Addr)
		return true, r.loop.Resume(t, 0)
	})
	if err != nil {
		return err
	}
	err = r.loop.RunTo(t, func() bool { return arrived || t.Kept != kept || t.Process != p || t.Stop.Kind == ptrace.Exec })
	if t.State == inferior.Stopped && pl.Site != nil && len(probe.Of(pl.Site).List) == 1 {
		err = errors.Join(err, r.xol.LeaveSlot(t, false)) // which is going to be another's
	}
	if r.loop.Procs[p.PID] != p {
		return err
	}
	return errors.Join(err, r.Unplace(pl))
}
