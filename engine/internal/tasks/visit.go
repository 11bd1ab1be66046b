package tasks

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A pause of all tasks lasts as long as it takes to stop and to resume them, a millisecond
// for some hundred. What does not need all of them at once visits them.

// visitors is how many tasks stand at a time in a visit.
const visitors = 16

// Visit halts each task of a space, a few at a time, for f. It reports whether all of them
// could be halted. Tasks that begin meanwhile are visited, too.
func (s *Set) Visit(space *inferior.Space, f func(*inferior.Task)) (all bool, err error) {
	all = true
	seen := map[*inferior.Task]bool{}
	for {
		if vforks(s.Sharing(space)) {
			return false, nil // it does not stop before its child is elsewhere
		}
		some := s.notIn(seen, space)
		if len(some) == 0 {
			return all, nil
		}
		for _, t := range some {
			seen[t] = true
			if t.Hold++; !t.AtEvent() {
				s.Ask(t)
			}
		}
		start := ptrace.Now()
		stand := func() bool {
			for _, t := range some {
				if t.State != inferior.Gone && !t.AtEvent() {
					return false
				}
			}
			return true
		}
		s.gather(some)
		err := s.Await(some, stand)
		all = all && stand()
		var errs []error
		for _, t := range some {
			if t.AtEvent() {
				f(t)
			}
			if e := s.Unhalt(t); !ptrace.IsGone(e) {
				errs = append(errs, e)
			}
		}
		s.Paused(ptrace.Now() - start)
		if err != nil && !errors.Is(err, ErrBusy) {
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return false, err
		}
	}
}

// notIn are a few tasks of a space that have not been seen.
func (s *Set) notIn(seen map[*inferior.Task]bool, space *inferior.Space) (some []*inferior.Task) {
	for _, p := range s.Sharing(space) {
		for _, t := range p.Tasks {
			if t.State == inferior.Gone || seen[t] {
				continue
			}
			if some = append(some, t); len(some) == visitors {
				return some
			}
		}
	}
	return some
}
