package hit

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// SIGTRAPs of the program's own. Such a signal goes to the guard, which calls the program's
// handler. Where the guard's header cannot say which handler that is, the tracer takes the task
// there from the guard's first instruction: a single step that delivers a signal ends at that
// instruction (signal_setup_done, kernel/signal.c). This is so for an action that is for one signal
// only (SA_RESETHAND), because the header must say "default" before the next signal comes, and in a
// process that runs in another's memory and has handlers of its own.

// deliverTrap gives a SIGTRAP of the program's own to the program. If the program ignores SIGTRAPs
// that are sent to it, the guard must not get the signal.
func (x *Hits) deliverTrap(t *inferior.Task, code int) error {
	p := t.Process
	if p.Space.Guard.Installed && guard.OwnAction(p).Handler == ptrace.SigIgn && code <= 0 {
		// A call of rt_sigaction that the tracer has not seen may have set another handler.
		if caught, err := guard.CatchesTrap(t.TID); caught || err != nil {
			return errors.Join(err, x.loop.Resume(t, 0))
		}
	}
	p.Traps = true
	return x.deliver(t, ptrace.SIGTRAP)
}

// onEntered continues a task that has come to the guard's first instruction with a SIGTRAP of the
// program's own. The program's handler gets the same registers.
func (x *Hits) onEntered(t *inferior.Task) error {
	p := t.Process
	pc, err := t.PC()
	if err != nil || pc != arch.Addr(p.Space.Guard.Ours.Handler) {
		return errors.Join(err, x.loop.Resume(t, 0)) // a call that the tracer has not seen has set another handler
	}
	own := guard.OwnAction(p)
	switch {
	case own.Handler > ptrace.SigIgn:
	case p.Old == nil: // another thread has been here, and the header says so
		return x.loop.Resume(t, 0)
	default:
		return x.guard.EndByTrap(t)
	}
	t.SetPC(arch.Addr(own.Handler))
	if own.Flags&ptrace.SaResetHand != 0 {
		own.Handler = ptrace.SigDfl // the kernel leaves the flags, too (get_signal)
		if p.Old == nil {
			err = x.guard.WriteOld(p.Space)
		}
	}
	return errors.Join(err, x.loop.Resume(t, 0))
}

// leaves reports whether a task that hits an exit leaves the function. The instruction's code is
// read only where it matters.
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
