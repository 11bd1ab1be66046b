package engine

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// onExiting is a task that is about to end, which can't be held.
func (s *session) onExiting(t *inferior.Task) error {
	space := t.Process.Space
	if t.TID == t.Process.PID && !t.Process.Silent {
		s.plant.NoteLost(space, space.Table.Sites())
		s.plant.NoteCopies(t.Process)
	}
	t.State = inferior.Running
	return ptrace.Cont(t.TID, 0)
}
