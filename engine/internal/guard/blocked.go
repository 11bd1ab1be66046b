package guard

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A trap in a task that has SIGTRAP blocked makes the kernel unblock it and
// reset its handler (force_sig_info_to_task, kernel/signal.c): both are put
// back. Only the handler tells for certain, and asking costs more than the
// hit; so it is asked only when other synchronous signals are blocked too, as
// they are wherever a libc or the Go runtime blocks all signals, or where the
// program gets SIGTRAPs of its own, whose handler runs with just that blocked.
//
// These are the bits of SIGTRAP, and of the other signals that an instruction of the task's own
// may lead to, in a set of signals.
const (
	BitTrap  = 1 << (5 - 1)
	BitsSync = 1<<(4-1) | 1<<(7-1) | 1<<(8-1) | 1<<(11-1) // ILL, BUS, FPE, SEGV
)

// CheckBlocked reports whether a task at a trap had SIGTRAP blocked, and blocks it again: the
// guard is to be repaired then.
func (g *Guard) CheckBlocked(t *inferior.Task) (blocked bool, err error) {
	mask, err := ptrace.GetSigMask(t.TID)
	if err != nil || mask&BitsSync == 0 && !t.Process.Traps {
		return false, err
	}
	if caught, err := CatchesTrap(t.TID); err != nil || caught {
		return false, err
	}
	return true, ptrace.SetSigMask(t.TID, mask|BitTrap)
}

// Repair puts the guard in place and resumes the task.
func (g *Guard) Repair(t *inferior.Task) error {
	if err := g.loop.Halt(t); err != nil {
		return err
	}
	_, err := g.Sigaction(t, &t.Process.Space.Guard.Ours)
	return errors.Join(err, g.loop.Unhalt(t))
}

// CatchesTrap reports whether a task's process has a handler of SIGTRAP.
func CatchesTrap(tid int) (bool, error) {
	st, err := procfs.ReadStatus(tid)
	return st.Hex("SigCgt")&BitTrap != 0, err
}

// Continue lets a task go on with a signal, at which it may have to stop once more.
func (g *Guard) Continue(t *inferior.Task, signal ptrace.Signo) error {
	err := g.cont(t, signal)
	if g.noted == t {
		err = errors.Join(err, g.Forget(t))
	}
	return err
}

func (g *Guard) cont(t *inferior.Task, signal ptrace.Signo) error {
	if signal != ptrace.SIGTRAP || !beyond(t.Process) {
		return ptrace.Cont(t.TID, signal)
	}
	t.Entering = true
	return ptrace.Step(t.TID, signal)
}

// beyond reports whether the guard can't tell what a SIGTRAP is to lead to.
func beyond(p *inferior.Process) bool {
	own := OwnAction(p)
	return p.Guarded && (p.Old != nil || own.Handler > ptrace.SigIgn && own.Flags&ptrace.SaResetHand != 0)
}

// EndByTrap has a task end its process by SIGTRAP: the signal comes again, to a process
// that has no handler.
func (g *Guard) EndByTrap(t *inferior.Task) error {
	if err := g.loop.Halt(t); err != nil {
		return err
	}
	p := t.Process
	_, err := g.Sigaction(t, &ptrace.SigAction{})
	mask, err2 := ptrace.GetSigMask(t.TID)
	if err = errors.Join(err, err2); err == nil {
		p.Guarded = false
		err = ptrace.SetSigMask(t.TID, mask&^BitTrap)
	}
	if err == nil {
		err = ptrace.Send(p.PID, t.TID, ptrace.SIGTRAP)
	}
	return errors.Join(err, g.loop.Unhalt(t))
}
