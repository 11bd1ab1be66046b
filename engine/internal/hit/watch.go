package hit

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// onWatch serves the hits of debug registers. hit reports whether there was one.
func (x *Hits) onWatch(t *inferior.Task, info *ptrace.SigInfo) (hit bool, err error) {
	w, regs, bits, err := x.watch.Hit(t, info)
	if err != nil || bits == 0 {
		return false, err
	}
	r, err := t.Regs()
	if err != nil {
		return true, err
	}
	x.Stopped.Add(1)
	view := *r
	told := len(t.Process.Space.Skips) > 0 && x.xol.Skipped(t, arch.Addr(view[x.isa.PCReg()]))
	for i, pl := range w {
		if pl != nil && bits>>i&1 != 0 && !t.Process.Silent && !told && !pl.Probe.Spec.Held {
			x.watchHit(t, pl, &view)
		}
	}
	if ptrace.DebugBefore {
		return true, x.stepWatch(t, &regs)
	}
	return true, x.loop.Resume(t, 0)
}

// watchHit serves a hit of one placement's debug register.
func (x *Hits) watchHit(t *inferior.Task, pl *probe.Placement, view *arch.Regs) {
	site := breakpoint.Site{Addr: arch.Addr(view[x.isa.PCReg()])}
	code := func() []byte { return t.Process.Space.Table.CodeAt(&site) }
	if pl.Exit != nil && !x.leaves(t, pl, code, view) {
		return
	}
	pl.Hits.Add(1)
	x.act(t, &site, pl, view)
}

// leaveWatch prepares a task for a signal's handler. If the hit of the instruction at which the
// task stands has been served, the task will come back to the instruction, and that is not another
// hit.
func (x *Hits) leaveWatch(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	view := *r
	pc := arch.Addr(view[x.isa.PCReg()])
	if x.watch.Code(t.Process, pc) && ptrace.TakeResume(&view) {
		t.SetRegs(&view)
		xol.AddSkip(t, pc, view[x.isa.SPReg()])
	}
	return nil
}

// stepWatch lets a task make the access that its debug registers have reported before it happens
// (arm64).
func (x *Hits) stepWatch(t *inferior.Task, regs *[ptrace.MaxDebug]ptrace.Debug) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if err := ptrace.SetDebug(t.TID, &[ptrace.MaxDebug]ptrace.Debug{}); err != nil {
		return err
	}
	from, err := t.Regs()
	if err != nil {
		return err
	}
	pc, sp := arch.Addr(from[x.isa.PCReg()]), from[x.isa.SPReg()]
	if err := ptrace.Step(t.TID, 0); err != nil {
		return err
	}
	stop, err := x.loop.Next(t)
	if err != nil {
		return err
	}
	if stop.Kind != ptrace.Exited && stop.Kind != ptrace.Killed {
		if err := ptrace.SetDebug(t.TID, regs); err != nil {
			return err
		}
	}
	if stop.Kind == ptrace.Signal && stop.Signal == ptrace.SIGTRAP {
		return x.loop.Resume(t, 0)
	}
	if stop.Kind == ptrace.Signal { // it came before the instruction, to which the task comes back
		if now, err := t.PC(); err == nil && now == pc {
			xol.AddSkip(t, pc, sp)
		}
	}
	return x.loop.Decide(t, stop)
}
