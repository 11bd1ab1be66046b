package engine

import (
	"errors"
)

// Lines: a thread of a traced program counts in words of its own (package maps,
// Lines), which it finds by its pointer to its own data. That is right where no two
// threads have the same one, and where the word that it points to is the pointer
// itself, as code reads it there: so it is in programs whose threads are a libc's.
// It is looked at when the first such code is planted, in the pause for that, and
// at each thread that comes. Where it is not so, code goes by CPUs, atomically.

// uncounted is Stats.Uncounted.
func (s *session) uncounted() (n uint64) {
	get := func() error {
		n = s.inproc.Lost()
		return nil
	}
	if errors.Is(s.loop.Do(get), ErrEnded) {
		<-s.done
		_ = get()
	}
	return n
}
