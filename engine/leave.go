package engine

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

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
			return true, s.hit.FaultInside(t, signal, inside)
		}
	}
	t.Asked = true
	if err := ptrace.Interrupt(t.TID); err != nil {
		return true, err
	}
	return true, s.loop.LetGo(t, signal)
}
