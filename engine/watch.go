package engine

import (
	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// onWatch tells the hits of debug registers.
func (s *session) onWatch(t *inferior.Task, info *ptrace.SigInfo) (hit bool, err error) {
	w, regs, bits, err := s.watch.Hit(t, info)
	if err != nil || bits == 0 {
		return false, err
	}
	r, err := t.Regs()
	if err != nil {
		return true, err
	}
	s.stopped.Add(1)
	view := *r
	told := len(t.Process.Space.Skips) > 0 && s.xol.Skipped(t, arch.Addr(view[s.isa.PCReg()]))
	for i, pl := range w {
		if pl != nil && bits>>i&1 != 0 && !t.Process.Silent && !told && !pl.Probe.Spec.Held {
			s.watchHit(t, pl, &view)
		}
	}
	if ptrace.DebugBefore {
		return true, s.stepWatch(t, &regs)
	}
	return true, s.loop.Resume(t, 0)
}

func (s *session) watchHit(t *inferior.Task, pl *probe.Placement, view *arch.Regs) {
	site := breakpoint.Site{Addr: arch.Addr(view[s.isa.PCReg()])}
	code := func() []byte { return t.Process.Space.Table.CodeAt(&site) }
	if pl.Exit != nil && !s.leaves(t, pl, code, view) {
		return
	}
	pl.Hits.Add(1)
	s.act(t, &site, pl, view)
}

// leaveWatch is before a signal: where the task stands at an instruction whose hit has
// been told, it will come back to it, and that is no other hit.
func (s *session) leaveWatch(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	view := *r
	pc := arch.Addr(view[s.isa.PCReg()])
	if s.watch.Code(t.Process, pc) && ptrace.TakeResume(&view) {
		t.SetRegs(&view)
		xol.AddSkip(t, pc, view[s.isa.SPReg()])
	}
	return nil
}

// stepWatch lets a task make the access that its debug registers reported
// before it happened.
func (s *session) stepWatch(t *inferior.Task, regs *[ptrace.MaxDebug]ptrace.Debug) error {
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
	pc, sp := arch.Addr(from[s.isa.PCReg()]), from[s.isa.SPReg()]
	if err := ptrace.Step(t.TID, 0); err != nil {
		return err
	}
	stop, err := s.loop.Next(t)
	if err != nil {
		return err
	}
	if stop.Kind != ptrace.Exited && stop.Kind != ptrace.Killed {
		if err := ptrace.SetDebug(t.TID, regs); err != nil {
			return err
		}
	}
	if stop.Kind == ptrace.Signal && stop.Signal == ptrace.SIGTRAP {
		return s.loop.Resume(t, 0)
	}
	if stop.Kind == ptrace.Signal { // came before the instruction, to which the task comes back
		if now, err := t.PC(); err == nil && now == pc {
			xol.AddSkip(t, pc, sp)
		}
	}
	return s.Decide(t, stop)
}
