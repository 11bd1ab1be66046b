package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Lines: a thread of a traced program counts in words of its own (package maps,
// Lines), which it finds by its pointer to its own data. That is right where no two
// threads have the same one, and where the word that it points to is the pointer
// itself, as code reads it there: so it is in programs whose threads are a libc's.
// It is looked at when the first such code is planted, in the pause for that, and
// at each thread that comes. Where it is not so, code goes by CPUs, atomically.

// watchLines looks at a thread that begins: whether it can have a line of its own.
func (s *session) watchLines(t *inferior.Task) error {
	space := t.Process.Space
	if !space.LinesChecked || space.NoLines {
		return nil
	}
	pointer, err := s.inproc.ThreadPointer(t)
	if err == nil && pointer == 0 { // of a program that begins it is none yet; this one's maker has had one
		err = inproc.ErrNoLines
	}
	if err == nil && s.inproc.FewerLines(space) {
		err = inproc.ErrNoLines
	}
	if err == nil || ptrace.IsGone(err) {
		return err
	}
	return s.leaveLines(t.Process)
}

// leaveLines has all code in a process's space go by CPUs from now on.
func (s *session) leaveLines(p *inferior.Process) error {
	space := p.Space
	was := space.NoLines
	if space.NoLines = true; was || !space.LinesChecked {
		return nil
	}
	return s.planAgain(p)
}

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
