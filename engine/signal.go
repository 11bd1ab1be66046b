package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// onSignal decides a signal-delivery-stop. All signals but our own traps go to
// the program with their siginfo, without asking anybody.
func (s *session) onSignal(t *inferior.Task, stop ptrace.Stop) error {
	entering := t.Entering
	t.Entering = false
	if stop.Signal == ptrace.SIGTRAP {
		if entering {
			return s.onEntered(t)
		}
		return s.onTrapSignal(t)
	}
	if err := t.Restart(); err != nil { // no handler may run: the signal is ignored
		return err
	}
	if s.signals && !t.Process.Silent {
		e := event.Event{Kind: event.Signal, PID: t.Process.PID, TID: t.TID, Signal: int(stop.Signal)}
		s.tell(&e, false)
	}
	return s.deliver(t, stop.Signal)
}

// deliver passes a signal on. A task that stands in a slot is first put where
// the program would be, so that no signal frame ever shows a slot.
func (s *session) deliver(t *inferior.Task, signal ptrace.Signo) error {
	if t.Process.Space.Table.Prepared() {
		var inside *breakpoint.Site
		var err error
		if signal, inside, err = s.xol.FinishRun(t, signal); err != nil {
			return err
		}
		if inside != nil {
			return s.faultInside(t, signal, inside)
		}
		if signal == ptrace.SIGTRAP { // the program's own
			err = s.guard.Swallow(t.Process.Space, false)
		}
		if err := errors.Join(err, s.xol.LeaveSlot(t, true)); err != nil {
			return err
		}
	}
	if err := s.leaveWatch(t); err != nil {
		return err
	}
	return s.loop.Resume(t, signal)
}

// onOtherTrap decides a SIGTRAP that is not at an armed trap of ours.
func (s *session) onOtherTrap(t *inferior.Task, pc arch.Addr) error {
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return err
	}
	addr := s.isa.TrapPC(pc)
	switch info.Code() {
	case ptrace.CodeHwbkpt, ptrace.CodeBrkpt, ptrace.CodeTrace, ptrace.CodeKernel:
		if hit, err := s.onWatch(t, &info); hit || err != nil {
			return err
		}
		if t.Process.Space.Table.Was(addr) && !s.trapThere(t, addr) {
			// The site was removed while this trap was on its way.
			blocked, err := s.guard.CheckBlocked(t)
			if err != nil {
				return err
			}
			t.SetPC(addr)
			return s.goOn(t, blocked)
		}
	}
	if s.signals && !t.Process.Silent {
		e := event.Event{Kind: event.Signal, PID: t.Process.PID, TID: t.TID, Signal: int(ptrace.SIGTRAP)}
		s.tell(&e, false)
	}
	return s.deliverTrap(t, info.Code())
}

func (s *session) trapThere(t *inferior.Task, addr arch.Addr) bool {
	code := make([]byte, len(s.isa.Trap()))
	return t.Process.Space.Memory.Read(addr, code) == nil && s.isa.IsTrap(code)
}
