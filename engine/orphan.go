package engine

import (
	"time"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A child's first stop may come before its parent's event. A parent that is killed in between
// tells nothing: its child is traced, and stands for a tracer that does not know it.

// early is a stop of a task whose parent's event has not come yet.
type early struct {
	stop  ptrace.Stop
	since time.Time
}

// orphanAge is how old an early stop is when the parent is looked for.
const orphanAge = time.Second

// keepEarly keeps such a stop, and looks at it later if nothing has come by then.
func (s *session) keepEarly(stop ptrace.Stop) {
	s.early[stop.Task] = early{stop, time.Now()}
	s.lookForOrphans()
}

func (s *session) lookForOrphans() {
	if s.looking {
		return
	}
	s.looking = true
	time.AfterFunc(orphanAge, func() {
		_ = s.do(func() error { // else the session has ended, and the kernel lets them go
			s.looking = false
			for task, e := range s.early {
				if time.Since(e.since) >= orphanAge && s.isOrphan(task) {
					s.adopt(task)
				}
			}
			if len(s.early) > 0 {
				s.lookForOrphans()
			}
			return nil
		})
	})
}

// isOrphan reports whether a task is a process whose parent is none of the session's. One
// that is there has its event on its way.
func (s *session) isOrphan(task int) bool {
	st, err := procfs.ReadStatus(task)
	if err != nil {
		delete(s.early, task) // it has gone; its end is told
		return false
	}
	return st.Number("Tgid") == task && s.procs[st.Number("PPid")] == nil
}

// adopt takes what there is of ptracer's out of an orphan, as of what a dead tracer has
// left, and lets it go.
func (s *session) adopt(task int) {
	mem, err := ptrace.OpenMemory(task)
	if err != nil {
		return
	}
	p := s.addProcess(task, &inferior.Space{})
	s.newSpace(p, mem)
	p.Stale, p.Leaving, p.Silent, p.Follow = true, true, true, false
	s.takeEarly(s.addTask(p, task, true))
}
