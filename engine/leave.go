package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A task behind a jump comes out of there before it is stopped or gets a signal.

// leaving is how leaveRun has left a task.
type leaving struct {
	moved bool         // it is in another stop now: of a step, or the fault's
	late  ptrace.Signo // came meanwhile and can't wait: SIGSTOP
	fault ptrace.Signo // a displaced instruction faults: the task has not left
}

// leaveRun steps a task that stands behind a jump through to the program's own
// code. Signals that come meanwhile wait: where one is in our hands that they must
// not overtake, they are blocked from the first step on.
func (s *session) leaveRun(t *inferior.Task, inHand *ptrace.SigInfo) (l leaving, err error) {
	if !t.Process.Space.Table.AnyRun() {
		return l, nil
	}
	q := quiet{s: s, task: t, inHand: inHand}
	defer func() {
		if t.State != inferior.Gone {
			err = errors.Join(err, q.end())
		}
	}()
	var inject ptrace.Signo
	for range maxRunSteps {
		in, err := s.stillInRun(t, inject)
		if !in || err != nil {
			l.late = max(l.late, inject)
			_, err2 := s.showEnd(t)
			return l, errors.Join(err, err2)
		}
		if inHand != nil || inject != 0 {
			if err := q.begin(); err != nil {
				return l, err
			}
		}
		if err := s.guard.Swallow(t.Process.Space, true); err != nil {
			return l, err
		}
		if err := t.Flush(); err != nil {
			return l, err
		}
		if err := ptrace.Step(t.TID, inject); err != nil {
			return l, err
		}
		if inject, err = s.afterStep(t, &l); l.fault != 0 || err != nil {
			return l, err
		}
	}
	return l, nil
}

// stillInRun is whether a task has to be stepped: it is in a run, and not at the
// jump back with nothing left to inject.
func (s *session) stillInRun(t *inferior.Task, inject ptrace.Signo) (bool, error) {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil || !table.InRun(pc) {
		return false, err
	}
	fix, _, ok := table.Locate(pc)
	return !ok || fix.Before || inject != 0, nil
}

// afterStep takes the stop of a step. A signal that came instead is to be
// injected while it is blocked: then it waits, with all that belongs to it.
func (s *session) afterStep(t *inferior.Task, l *leaving) (inject ptrace.Signo, err error) {
	stop, err := s.loop.Next(t)
	if err != nil {
		return 0, err
	}
	l.moved = true
	switch {
	case stop.Kind == ptrace.Exited, stop.Kind == ptrace.Killed:
		_ = s.onEnd(t, stop)
		return 0, ptrace.ErrGone
	case stop.Kind != ptrace.Signal || stop.Signal == ptrace.SIGTRAP:
		return 0, nil
	case stop.Signal == ptrace.SIGSTOP:
		l.late = stop.Signal
		return 0, nil
	}
	fault, err := isFault(t, stop.Signal)
	if fault {
		l.fault = stop.Signal
	}
	return stop.Signal, err
}

// quiet keeps signals from a task, but for faults and the traps of its steps. The
// guard is told first: should we die it gives back what the task is to have.
type quiet struct {
	s      *session
	task   *inferior.Task
	inHand *ptrace.SigInfo // a signal that we have not given it yet, nil: none
	mask   uint64          // the task's own
	on     bool
}

// quietMask is what it blocks; the kernel does not block bitsForced.
const (
	quietMask  = ^uint64(guard.BitTrap | guard.BitsSync)
	bitsForced = 1<<(9-1) | 1<<(19-1) // KILL, STOP
)

func (q *quiet) begin() (err error) {
	if q.on {
		return nil
	}
	if q.mask, err = ptrace.GetSigMask(q.task.TID); err == nil {
		err = q.s.guard.Note(q.task, q.mask, q.inHand)
	}
	if err == nil {
		err, q.on = ptrace.SetSigMask(q.task.TID, quietMask), true
	}
	return err
}

func (q *quiet) end() error {
	if !q.on {
		return nil
	}
	err := ptrace.SetSigMask(q.task.TID, q.mask)
	if q.inHand == nil { // else when it has got that
		err = errors.Join(err, q.s.guard.Forget(q.task))
	}
	return err
}

// isFault is whether a task has been stopped by a fault of its own.
func isFault(t *inferior.Task, signal ptrace.Signo) (bool, error) {
	if guard.BitsSync>>(signal-1)&1 == 0 {
		return false, nil
	}
	var info ptrace.SigInfo
	err := ptrace.GetSigInfo(t.TID, &info)
	return info.Code() > 0, err
}

// showEnd puts a task that has only the jump back before it where that leads,
// and one whose displaced instruction has faulted where the program has that. If
// that is in the middle of a jump, it gives the site.
func (s *session) showEnd(t *inferior.Task) (inside *breakpoint.Site, err error) {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil || !table.InRun(pc) {
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
	fixed, err := s.applyFix(t, *r, fix)
	if err != nil {
		return nil, err
	}
	t.SetRegs(&fixed)
	if at := arch.Addr(fixed[s.isa.PCReg()]); site.Jumps() && at > site.JumpAt() && at < min(site.JumpEnd(), site.JumpAt()+arch.Addr(s.isa.MaxJump())) {
		inside = site
	}
	return inside, nil
}

// faultInside gives a task the signal of a fault that it is shown in the middle
// of a jump, where it may come back: the jump is gone when it goes on.
func (s *session) faultInside(t *inferior.Task, signal ptrace.Signo, site *breakpoint.Site) error {
	site.Tag.(*tag).faulted = true
	t.HeldSig = signal // it gets it on its way to the halt
	return s.downgrade(t.Process.Space, []*breakpoint.Site{site}, "no jump: "+errFaulted.Error())
}

// maxRunSteps is more than any run takes, with all that it calls, but for what
// looks through a large map.
const maxRunSteps = 1 << 16

// outOfRun is leaveRun for a task in an event stop, which it is to be in again
// behind it; done says that this is on its way.
func (s *session) outOfRun(t *inferior.Task) (done bool, err error) {
	l, err := s.leaveRun(t, nil)
	if !l.moved || err != nil {
		return l.moved, err
	}
	signal := l.late
	if l.fault != 0 {
		signal = l.fault
		inside, err := s.showEnd(t)
		if err != nil {
			return true, err
		}
		if inside != nil {
			return true, s.faultInside(t, signal, inside)
		}
	}
	t.Asked = true
	if err := ptrace.Interrupt(t.TID); err != nil {
		return true, err
	}
	return true, s.loop.LetGo(t, signal)
}
