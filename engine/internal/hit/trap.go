package hit

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
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
func (x *Hits) deliverTrap(t *inferior.Task, code int) error {
	p := t.Process
	if p.Space.Guard.Installed && guard.OwnAction(p).Handler == ptrace.SigIgn && code <= 0 {
		// An rt_sigaction call that was not seen may have put something else there.
		if caught, err := guard.CatchesTrap(t.TID); caught || err != nil {
			return errors.Join(err, x.loop.Resume(t, 0))
		}
	}
	p.Traps = true
	return x.deliver(t, ptrace.SIGTRAP)
}

// onEntered is where a task has come to the guard's first instruction with a SIGTRAP of
// the program's own: to its handler it comes with the same registers.
func (x *Hits) onEntered(t *inferior.Task) error {
	p := t.Process
	pc, err := t.PC()
	if err != nil || pc != arch.Addr(p.Space.Guard.Ours.Handler) {
		return errors.Join(err, x.loop.Resume(t, 0)) // a call that was not seen has put another there
	}
	own := guard.OwnAction(p)
	switch {
	case own.Handler > ptrace.SigIgn:
	case p.Old == nil: // another thread has been here, and the guard knows
		return x.loop.Resume(t, 0)
	default:
		return x.guard.EndByTrap(t)
	}
	t.SetPC(arch.Addr(own.Handler))
	if own.Flags&ptrace.SaResetHand != 0 {
		own.Handler = ptrace.SigDfl // the flags stay, as get_signal leaves them
		if p.Old == nil {
			err = x.guard.WriteOld(p.Space)
		}
	}
	return errors.Join(err, x.loop.Resume(t, 0))
}

// leaves asks for the instruction's code only where it matters.
func (x *Hits) leaves(t *inferior.Task, p *probe.Placement, code func() []byte, r *arch.Regs) bool {
	exit := p.Exit
	if exit.Always {
		return true
	}
	next, err := x.isa.Next(code(), p.Addr, r, t.Process.Space.Memory.Read)
	if err != nil {
		return false
	}
	for _, in := range exit.Ranges {
		if next >= in[0] && next < in[1] {
			return false
		}
	}
	return true
}
