package tasks

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

// Early is the stop of a task that came before its parent's event, if there is one; it is
// forgotten.
func (s *Set) Early(task int) (stop ptrace.Stop, ok bool) {
	e, ok := s.early[task]
	delete(s.early, task)
	return e.stop, ok
}

// TakeEarly decides that stop.
func (s *Set) TakeEarly(t *inferior.Task) {
	if stop, ok := s.Early(t.TID); ok {
		s.take(stop)
	}
}

// orphanAge is how old an early stop is when the parent is looked for.
const orphanAge = time.Second

// keepEarly keeps such a stop, and looks at it later if nothing has come by then.
func (s *Set) keepEarly(stop ptrace.Stop) {
	s.early[stop.Task] = early{stop, time.Now()}
	s.lookForOrphans()
}

func (s *Set) lookForOrphans() {
	if s.looking {
		return
	}
	s.looking = true
	time.AfterFunc(orphanAge, func() {
		_ = s.Do(func() error { // else the session has ended, and the kernel lets them go
			s.looking = false
			for task, e := range s.early {
				if time.Since(e.since) >= orphanAge && s.isOrphan(task) {
					s.d.Orphan(task)
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
func (s *Set) isOrphan(task int) bool {
	st, err := procfs.ReadStatus(task)
	if err != nil {
		delete(s.early, task) // it has gone; its end is told
		return false
	}
	return st.Number("Tgid") == task && s.Procs[st.Number("PPid")] == nil
}
