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
		return s.life.OnTrap(t)
	case ptrace.Group:
		return s.life.OnGroup(t)
	case ptrace.SyscallStop:
		return s.loop.Resume(t, 0)
	case ptrace.Clone, ptrace.Fork, ptrace.VFork:
		return s.life.OnNewTask(t, stop.Kind)
	case ptrace.VForkDone:
		return s.aside.OnVForkDone(t)
	case ptrace.Exec:
		return s.life.OnExec(t)
	case ptrace.Exit:
		return s.life.OnExiting(t)
	case ptrace.Exited, ptrace.Killed:
		return s.life.OnEnd(t, stop)
	default:
		return s.loop.Resume(t, 0)
	}
}
