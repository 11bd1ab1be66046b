package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A SIGTRAP that is the program's own goes to the guard, which calls the program's
// handler. Where the guard's header can't say which one that is, the task is taken there
// from the guard's first instruction: a single step that delivers a signal ends at that
// (signal_setup_done, kernel/signal.c). That is so where the action is for one signal
// only (SA_RESETHAND), for the header must say "default" before the next one comes; and
// in a process that runs in another's memory, and has handlers of its own.

// deliverTrap passes on a SIGTRAP that is the program's own. Where the program
// ignores those that are sent to it, the guard must not get them in its place.
func (s *session) deliverTrap(t *inferior.Task, code int) error {
	p := t.Process
	if p.Space.Guard.Installed && ownAction(p).Handler == ptrace.SigIgn && code <= 0 {
		// An rt_sigaction call that was not seen may have put something else there.
		if caught, err := catchesTrap(t.TID); caught || err != nil {
			return errors.Join(err, s.loop.Resume(t, 0))
		}
	}
	p.Traps = true
	return s.deliver(t, ptrace.SIGTRAP)
}

// cont lets a task go on with a signal, at which it may have to stop once more.
func (s *session) cont(t *inferior.Task, signal ptrace.Signo) error {
	if signal != ptrace.SIGTRAP || !beyondGuard(t.Process) {
		return ptrace.Cont(t.TID, signal)
	}
	t.Entering = true
	return ptrace.Step(t.TID, signal)
}

// beyondGuard is whether the guard can't tell what a SIGTRAP is to lead to.
func beyondGuard(p *inferior.Process) bool {
	own := ownAction(p)
	return p.Guarded && (p.Old != nil || own.Handler > ptrace.SigIgn && own.Flags&ptrace.SaResetHand != 0)
}

// onEntered is where a task has come to the guard's first instruction with a SIGTRAP of
// the program's own: to its handler it comes with the same registers.
func (s *session) onEntered(t *inferior.Task) error {
	p := t.Process
	pc, err := t.PC()
	if err != nil || pc != arch.Addr(p.Space.Guard.Ours.Handler) {
		return errors.Join(err, s.loop.Resume(t, 0)) // a call that was not seen has put another there
	}
	own := ownAction(p)
	switch {
	case own.Handler > ptrace.SigIgn:
	case p.Old == nil: // another thread has been here, and the guard knows
		return s.loop.Resume(t, 0)
	default:
		return s.endByTrap(t)
	}
	t.SetPC(arch.Addr(own.Handler))
	if own.Flags&ptrace.SaResetHand != 0 {
		own.Handler = ptrace.SigDfl // the flags stay, as get_signal leaves them
		if p.Old == nil {
			err = s.writeOld(p.Space)
		}
	}
	return errors.Join(err, s.loop.Resume(t, 0))
}

// endByTrap has a task end its process by SIGTRAP: the signal comes again, to a process
// that has no handler.
func (s *session) endByTrap(t *inferior.Task) error {
	if err := s.loop.Halt(t); err != nil {
		return err
	}
	p := t.Process
	_, err := s.sigaction(t, &ptrace.SigAction{})
	mask, err2 := ptrace.GetSigMask(t.TID)
	if err = errors.Join(err, err2); err == nil {
		p.Guarded = false
		err = ptrace.SetSigMask(t.TID, mask&^bitTrap)
	}
	if err == nil {
		err = ptrace.Send(p.PID, t.TID, ptrace.SIGTRAP)
	}
	return errors.Join(err, s.loop.Unhalt(t))
}
