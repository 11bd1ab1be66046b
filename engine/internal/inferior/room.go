package inferior

import (
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Room is a part of a session that keeps state of processes, or of their spaces. There is one list
// of them: no fork, and no end, passes one by.
type Room interface {
	// Forked notes that a child has in its memory what its parent has.
	Forked(parent, child *Process)
	// Left forgets what is known of a process in its space: it has ended, has executed another
	// program, or is let go. It is the last one in the space, or is not.
	Left(p *Process, last bool)
}

// Fork is the space of a forked child, whose memory is a copy. It has no table yet.
func (s *Space) Fork(mem *ptrace.Memory) *Space {
	child := &Space{Memory: mem, Guard: s.Guard, Epoch: s.Epoch,
		Dispatches: s.Dispatches, NoTime: s.NoTime, TimeChecked: s.TimeChecked}
	child.Threads, child.Stacks = s.Threads, s.Stacks
	child.NoThreadSlots, child.ThreadSlotsChecked, child.ThreadsNoted = s.NoThreadSlots, s.ThreadSlotsChecked, s.ThreadsNoted
	return child
}
