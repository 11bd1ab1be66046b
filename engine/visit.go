package engine

import (
	"errors"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// A pause of all tasks lasts as long as it takes to stop and to resume them, a millisecond
// for some hundred. What does not need all of them at once visits them.

// visitors is how many tasks stand at a time in a visit.
const visitors = 16

// visit halts each task of a space, a few at a time, for f. It reports whether all of them
// could be halted. Tasks that begin meanwhile are visited, too.
func (s *session) visit(space *inferior.Space, f func(*inferior.Task)) (all bool, err error) {
	all = true
	seen := map[*inferior.Task]bool{}
	for {
		if vforks(s.sharing(space)) {
			return false, nil // it does not stop before its child is elsewhere
		}
		some := s.notIn(seen, space)
		if len(some) == 0 {
			return all, nil
		}
		for _, t := range some {
			seen[t] = true
			if t.Hold++; !atEvent(t) {
				s.ask(t)
			}
		}
		start := now()
		stand := func() bool {
			for _, t := range some {
				if t.State != inferior.Gone && !atEvent(t) {
					return false
				}
			}
			return true
		}
		s.gather(some)
		err := s.await(some, stand)
		all = all && stand()
		var errs []error
		for _, t := range some {
			if atEvent(t) {
				f(t)
			}
			if e := s.unhalt(t); !isGone(e) {
				errs = append(errs, e)
			}
		}
		s.pause(now() - start)
		if err != nil && err != errBusy {
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return false, err
		}
	}
}

// notIn are a few tasks of a space that have not been seen.
func (s *session) notIn(seen map[*inferior.Task]bool, space *inferior.Space) (some []*inferior.Task) {
	for _, p := range s.sharing(space) {
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

// armBytes arms those of the jumps of which one byte is written, as of a trap: no task is in
// the middle of one, nor sees a part of one. That takes no pause. It gives back the others.
func (s *session) armBytes(space *inferior.Space, ups []*breakpoint.Upgrade) (left []*breakpoint.Upgrade, err error) {
	var bytes []*breakpoint.Upgrade
	for _, up := range ups {
		if up.Atomic() && !skipped(space, up) {
			bytes = append(bytes, up)
		} else {
			left = append(left, up)
		}
	}
	if len(bytes) == 0 {
		return left, nil
	}
	if known, err := s.knowsThreads(space); err != nil || !known {
		return ups, err // in a pause it is seen for certain
	}
	for _, up := range bytes { // each by itself: what lies between them is not written
		if err := space.Table.Arm([]*breakpoint.Upgrade{up})[0]; err != nil {
			s.giveUp(space, up, err)
		}
	}
	return left, nil
}

// skipped reports whether a task comes back to a jump's place with a hit that was told.
func skipped(space *inferior.Space, up *breakpoint.Upgrade) bool {
	for _, k := range space.Skips {
		if k.Addr == up.From {
			return true
		}
	}
	return false
}

// knowsThreads learns what code behind jumps has to know of a space's threads, if it is not
// known. It reports false where that takes a pause.
func (s *session) knowsThreads(space *inferior.Space) (bool, error) {
	if !s.asksPointers(space) {
		return true, nil
	}
	known := pointers{}
	all, err := s.visit(space, known.learn)
	if err != nil || !all {
		return false, err
	}
	seen := map[uint64]bool{}
	for t, p := range known {
		if t.State == inferior.Gone || p.err != nil {
			return false, nil // its pointer may be another's by now
		}
		if seen[p.to] && p.to != 0 {
			return false, nil
		}
		seen[p.to] = true
	}
	if err := s.checkLines(space, known); err != nil {
		space.NoLines = false
		return false, nil
	}
	return true, s.noteThreads(space, known)
}

// asksPointers reports whether anything is to be learned of the pointers of a space's threads.
func (s *session) asksPointers(space *inferior.Space) bool {
	return s.looksAtLines(space) || space.Threads != 0 && !space.ThreadsNoted
}
