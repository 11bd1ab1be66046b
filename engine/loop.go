package engine

import (
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
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

// trapPending says whether a task stands in an event stop that came between a
// trap of ours and its signal (get_signal serves job control first): it is not
// halted before it has taken the signal.
func (s *session) trapPending(t *inferior.Task) bool {
	if !t.Watched && !s.pastTrap(t) {
		return false
	}
	st, err := procfs.ReadStatus(t.TID)
	return err == nil && st.Hex("SigPnd")&guard.BitTrap != 0
}

// pastTrap says whether a task is where a trap of ours would have left it.
func (s *session) pastTrap(t *inferior.Task) bool {
	table := t.Process.Space.Table
	if !table.Prepared() {
		return false
	}
	pc, err := t.PC()
	return err == nil && (table.At(s.isa.TrapPC(pc)) != nil || table.Was(s.isa.TrapPC(pc)))
}
