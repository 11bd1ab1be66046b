package engine

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Decide is the table of what a stop leads to; each case is one line. It implements
// tasks.Decider.
func (s *session) Decide(t *inferior.Task, stop ptrace.Stop) error {
	switch stop.Kind {
	case ptrace.Signal:
		return s.hit.OnSignal(t, stop)
	case ptrace.Trap:
		return s.onTrap(t)
	case ptrace.Group:
		return s.onGroup(t)
	case ptrace.SyscallStop:
		return s.loop.Resume(t, 0)
	case ptrace.Clone, ptrace.Fork, ptrace.VFork:
		return s.onNewTask(t, stop.Kind)
	case ptrace.VForkDone:
		return s.onVForkDone(t)
	case ptrace.Exec:
		return s.onExec(t)
	case ptrace.Exit:
		return s.onExiting(t)
	case ptrace.Exited, ptrace.Killed:
		return s.onEnd(t, stop)
	default:
		return s.loop.Resume(t, 0)
	}
}
