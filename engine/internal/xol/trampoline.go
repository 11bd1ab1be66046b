package xol

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A task behind a jump comes out of there before it is stopped or gets a signal.

// Leaving is how StepOut has left a task.
type Leaving struct {
	Moved bool         // it is in another stop now: of a step, or the fault's
	Late  ptrace.Signo // came meanwhile and can't wait: SIGSTOP
	Fault ptrace.Signo // a displaced instruction faults: the task has not left
}

// StepOutFor has a task behind a jump go through to its end before it gets a
// signal, and says which: a fault of a displaced instruction comes at once, shown
// where the program has that instruction. If that is in the middle of a jump, it
// gives the site.
func (x *XOL) StepOutFor(t *inferior.Task, signal ptrace.Signo) (_ ptrace.Signo, inside *breakpoint.Site, err error) {
	table := t.Process.Space.Table
	if !table.AnyTrampoline() {
		return signal, nil, nil
	}
	pc, err := t.PC()
	if err != nil || !table.InTrampoline(pc) {
		return signal, nil, err
	}
	if fault, err := isFault(t, signal); err != nil {
		return signal, nil, err
	} else if fault {
		inside, err = x.ShowEnd(t)
		return signal, inside, err
	}
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return signal, nil, err
	}
	l, err := x.StepOut(t, &info)
	if err != nil || !l.Moved {
		return signal, nil, err
	}
	if l.Late != 0 { // it comes again
		_ = ptrace.Send(t.Process.PID, t.TID, l.Late)
	}
	if l.Fault != 0 {
		_ = ptrace.Send(t.Process.PID, t.TID, signal)
		inside, err = x.ShowEnd(t)
		return l.Fault, inside, err
	}
	return signal, nil, ptrace.SetSigInfo(t.TID, &info)
}

// StepOut steps a task that stands behind a jump through to the program's own
// code. Signals that come meanwhile wait: where the tracer holds one that they must
// not overtake, they are blocked from the first step on.
func (x *XOL) StepOut(t *inferior.Task, inHand *ptrace.SigInfo) (l Leaving, err error) {
	if !t.Process.Space.Table.AnyTrampoline() {
		return l, nil
	}
	q := quiet{x: x, task: t, inHand: inHand}
	defer func() {
		if t.State != inferior.Gone {
			err = errors.Join(err, q.end())
		}
	}()
	var inject ptrace.Signo
	for range maxSteps {
		in, err := x.stillInside(t, inject)
		if !in || err != nil {
			l.Late = max(l.Late, inject)
			_, err2 := x.ShowEnd(t)
			return l, errors.Join(err, err2)
		}
		if inHand != nil || inject != 0 {
			if err := q.begin(); err != nil {
				return l, err
			}
		}
		if err := x.guard.Swallow(t.Process.Space, true); err != nil {
			return l, err
		}
		if err := t.Flush(); err != nil {
			return l, err
		}
		if err := ptrace.Step(t.TID, inject); err != nil {
			return l, err
		}
		if inject, err = x.afterStep(t, &l); l.Fault != 0 || err != nil {
			return l, err
		}
	}
	return l, nil
}

// stillInside reports whether a task has to be stepped: it is in a trampoline, and not at the
// jump back with nothing left to inject.
func (x *XOL) stillInside(t *inferior.Task, inject ptrace.Signo) (bool, error) {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil || !table.InTrampoline(pc) {
		return false, err
	}
	fix, _, ok := table.Locate(pc)
	return !ok || fix.Before || inject != 0, nil
}

// afterStep takes the stop of a step. A signal that came instead is to be
// injected while it is blocked: then it waits, with all that belongs to it.
func (x *XOL) afterStep(t *inferior.Task, l *Leaving) (inject ptrace.Signo, err error) {
	stop, err := x.loop.Next(t)
	if err != nil {
		return 0, err
	}
	l.Moved = true
	switch {
	case stop.Kind == ptrace.Exited, stop.Kind == ptrace.Killed:
		_ = x.loop.Decide(t, stop)
		return 0, ptrace.ErrGone
	case stop.Kind != ptrace.Signal || stop.Signal == ptrace.SIGTRAP:
		return 0, nil
	case stop.Signal == ptrace.SIGSTOP:
		l.Late = stop.Signal
		return 0, nil
	}
	fault, err := isFault(t, stop.Signal)
	if fault {
		l.Fault = stop.Signal
	}
	return stop.Signal, err
}

// maxSteps is more than any trampoline takes, with all that it calls, but for what
// looks through a large map.
const maxSteps = 1 << 16

// isFault reports whether a task has been stopped by a fault of its own.
func isFault(t *inferior.Task, signal ptrace.Signo) (bool, error) {
	if guard.BitsSync>>(signal-1)&1 == 0 {
		return false, nil
	}
	var info ptrace.SigInfo
	err := ptrace.GetSigInfo(t.TID, &info)
	return info.Code() > 0, err
}

// ShowEnd puts a task that has only the jump back before it where that leads,
// and one whose displaced instruction has faulted where the program has that. If
// that is in the middle of a jump, it gives the site.
func (x *XOL) ShowEnd(t *inferior.Task) (inside *breakpoint.Site, err error) {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil || !table.InTrampoline(pc) {
		return nil, err
	}
	fix, site, ok := table.Locate(pc)
	if !ok {
		return nil, nil
	}
	r, err := t.Regs()
	if err != nil {
		return nil, err
	}
	fixed, err := x.Fixed(t, *r, fix)
	if err != nil {
		return nil, err
	}
	t.SetRegs(&fixed)
	if at := arch.Addr(fixed[x.isa.PCReg()]); site.Jumps() && at > site.JumpAt() && at < min(site.JumpEnd(), site.JumpAt()+arch.Addr(x.isa.MaxJump())) {
		inside = site
	}
	return inside, nil
}
