package engine

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// faultInside gives a task the signal of a fault that it is shown in the middle
// of a jump, where it may come back: the jump is gone when it goes on.
func (s *session) faultInside(t *inferior.Task, signal ptrace.Signo, site *breakpoint.Site) error {
	probe.Of(site).Faulted = true
	t.HeldSig = signal // it gets it on its way to the halt
	return s.jump.Downgrade(t.Process.Space, []*breakpoint.Site{site}, "no jump: "+jump.ErrFaulted.Error())
}

// outOfRun is leaveRun for a task in an event stop, which it is to be in again
// behind it; done says that this is on its way.
func (s *session) outOfRun(t *inferior.Task) (done bool, err error) {
	l, err := s.xol.LeaveRun(t, nil)
	if !l.Moved || err != nil {
		return l.Moved, err
	}
	signal := l.Late
	if l.Fault != 0 {
		signal = l.Fault
		inside, err := s.xol.ShowEnd(t)
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
