package engine

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Orphan takes what there is of ptracer's out of an orphan, as of what a dead tracer has
// left, and lets it go.
func (s *session) Orphan(task int) {
	mem, err := ptrace.OpenMemory(task)
	if err != nil {
		return
	}
	p := s.addProcess(task, &inferior.Space{})
	s.newSpace(p, mem)
	p.Stale, p.Leaving, p.Silent, p.Follow = true, true, true, false
	s.loop.TakeEarly(s.loop.Add(p, task, true))
}
