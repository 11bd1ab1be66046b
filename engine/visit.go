package engine

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
)

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
		if err := space.Table.ArmByte(up); err != nil {
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
	known := inproc.Pointers{}
	all, err := s.loop.Visit(space, known.Learn)
	if err != nil || !all {
		return false, err
	}
	seen := map[uint64]bool{}
	for t, p := range known {
		if t.State == inferior.Gone || p.Err != nil {
			return false, nil // its pointer may be another's by now
		}
		if seen[p.To] && p.To != 0 {
			return false, nil
		}
		seen[p.To] = true
	}
	if err := s.inproc.CheckLines(space, known); err != nil {
		space.NoLines = false
		return false, nil
	}
	return true, s.inproc.NoteThreads(space, known)
}

// asksPointers reports whether anything is to be learned of the pointers of a space's threads.
func (s *session) asksPointers(space *inferior.Space) bool {
	return s.inproc.LooksAtLines(space) || space.Threads != 0 && !space.ThreadsNoted
}
