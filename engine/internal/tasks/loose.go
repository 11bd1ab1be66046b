package tasks

import (
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A process whose memory can't be opened can't be traced: ptracer has all the descriptors open that it
// may have. It goes on as though its tracer had died, rather than stand for ever.

// loose are children that are to go on untraced, from their first stop on.
type loose map[int]bool

// LetLoose has a new child go on untraced, from its first stop on, which may have come. The guard in its
// copy of the memory serves the traps there, up to the next program that it executes.
func (s *Set) LetLoose(child int) {
	s.loose[child] = true
	if stop, stands := s.Early(child); stands {
		s.loose.let(stop)
	}
}

// let lets such a child go, if a stop is one's.
func (l loose) let(stop ptrace.Stop) bool {
	if !l[stop.Task] {
		return false
	}
	delete(l, stop.Task)
	if stop.Kind == ptrace.Exited || stop.Kind == ptrace.Killed {
		ptrace.Take(stop.Task)
	} else {
		_ = ptrace.Detach(stop.Task, 0) // or it has been killed
	}
	return true
}
