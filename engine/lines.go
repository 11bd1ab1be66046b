package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Lines: a thread of a traced program counts in words of its own (package maps,
// Lines), which it finds by its pointer to its own data. That is right where no two
// threads have the same one, and where the word that it points to is the pointer
// itself, as code reads it there: so it is in programs whose threads are a libc's.
// It is looked at when the first such code is planted, in the pause for that, and
// at each thread that comes. Where it is not so, code goes by CPUs, atomically.

// errNoLines is of a space in which threads can't be told apart, or not all of them.
var errNoLines = errors.New("a thread's pointer is not what the ABI says, or there are too many threads")

// finding is what a thread finds that is its own: a line, or a stack.
type finding uint8

const (
	nothing finding = iota
	byLine
	byStack
)

// finds says what threads find at a place of m. The dynamic loader's own code runs
// before there is any thread pointer; Go's threads have none of the ABI's kind, and
// their stacks no room for handlers.
func (s *session) finds(p *inferior.Process, m *symbols.Module, way compile.Way, handler bool) finding {
	switch {
	case way.Stack > 0 && handler && s.haveStacks():
		return byStack
	case !s.takeLines():
		return nothing
	case way.Stack > 0, p.Space.NoLines, m != nil && m.Loader:
		return nothing
	}
	return byLine
}

// takeLines is whether there are lines on this machine.
func (s *session) takeLines() bool {
	ctx, err := program.ContextOf(s.isa.Name())
	return err == nil && handler.Lined(ctx)
}

// haveStacks is whether there are stacks of ours on this machine.
func (s *session) haveStacks() bool {
	ctx, err := program.ContextOf(s.isa.Name())
	return err == nil && handler.Stacked(ctx)
}

// linesAt is where a process has the set with the next free line: the first counters.
func (s *session) linesAt(p *inferior.Process, near arch.Addr) (arch.Addr, error) {
	if len(s.counters) == 0 { // what ends calls may come first, and does not count
		if err := s.moreCounters(); err != nil {
			return 0, err
		}
	}
	return s.share(p, s.counters[0].Set(), near)
}

// claimFor gives the code by which threads find their lines first.
func (s *session) claimFor(p *inferior.Process, near arch.Addr) (*library, error) {
	lines, err := s.linesAt(p, near)
	if err != nil {
		return nil, err
	}
	env, need := s.counters[0].Claim(lines)
	return s.library(p, nil, near, byLine, env, need)
}

// pointers are what is known of the pointers of tasks to their own data.
type pointers map[*inferior.Task]pointer

type pointer struct {
	to  uint64
	err error
}

// learnPointers reads those of all tasks of a space that are halted.
func (s *session) learnPointers(space *inferior.Space) pointers {
	known := pointers{}
	for _, p := range s.loop.Sharing(space) {
		for _, t := range p.Tasks {
			known.learn(t)
		}
	}
	return known
}

func (known pointers) learn(t *inferior.Task) {
	to, err := ptrace.ThreadPointer(t.TID)
	known[t] = pointer{to, err}
}

// checkLines says whether threads of a space can be told apart. In a program that begins
// there is no pointer yet, but will be when anything but the loader runs.
func (s *session) checkLines(space *inferior.Space, known pointers) error {
	if !s.looksAtLines(space) {
		return nil
	}
	seen := map[uint64]bool{}
	if s.fewLines(space) {
		space.NoLines = true
		return errNoLines
	}
	for _, p := range s.loop.Sharing(space) {
		for _, t := range p.Tasks {
			pointer, err := s.leads(t, known[t])
			if seen[pointer] && err == nil {
				err = fmt.Errorf("task %d: %w", t.TID, errNoLines) // another's
			}
			if err != nil && !ptrace.IsGone(err) {
				space.NoLines = true
				return err
			}
			seen[pointer] = true
		}
	}
	space.LinesChecked = true
	return nil
}

// looksAtLines reports whether checkLines has to look.
func (s *session) looksAtLines(space *inferior.Space) bool {
	return s.takeLines() && !space.NoLines && !space.LinesChecked
}

// threadPointer is a task's pointer to its own data, if code can go by it.
func (s *session) threadPointer(t *inferior.Task) (uint64, error) {
	to, err := ptrace.ThreadPointer(t.TID)
	return s.leads(t, pointer{to, err})
}

// leads is what is known of a task's pointer, if code can go by it.
func (s *session) leads(t *inferior.Task, known pointer) (uint64, error) {
	switch {
	case known.err != nil:
		return 0, known.err
	case known.to == 0 && t.Process.HasLoader():
		return 0, nil
	}
	if !leadsToItself(t.Process.Space, known.to) {
		return 0, fmt.Errorf("task %d: %w", t.TID, errNoLines)
	}
	return known.to, nil
}

// mostLines is from how many lines on that are taken, or may be by the threads that
// are there, code goes by CPUs: in good time before there are none.
const mostLines = maps.Lines * 3 / 4

// watchLines looks at a thread that begins: whether it can have a line of its own.
func (s *session) watchLines(t *inferior.Task) error {
	space := t.Process.Space
	if !space.LinesChecked || space.NoLines {
		return nil
	}
	pointer, err := s.threadPointer(t)
	if err == nil && pointer == 0 { // of a program that begins it is none yet; this one's maker has had one
		err = errNoLines
	}
	if err == nil && s.fewerLines(space) {
		err = errNoLines
	}
	if err == nil || ptrace.IsGone(err) {
		return err
	}
	return s.leaveLines(t.Process)
}

// fewLines reports whether there may soon be no line for one of a space's tasks: the
// lines that are taken and its tasks, or all tasks that may take one, are too many.
// Lines of processes that have ended are free.
func (s *session) fewLines(space *inferior.Space) bool {
	own, all := 0, 0
	for _, p := range s.loop.Procs {
		switch {
		case p.Space == space:
			own += len(p.Tasks)
		case p.Space.LinesChecked && !p.Space.NoLines:
			all += len(p.Tasks)
		}
	}
	if own+all >= mostLines {
		return true
	}
	return len(s.counters) > 0 && s.counters[0].Set().NextLine()+own >= mostLines &&
		s.counters[0].InUse(ptrace.Exists)+own >= mostLines
}

// fewerLines is fewLines when a task begins, of which there may be thousands: it looks
// now and then.
func (s *session) fewerLines(space *inferior.Space) bool {
	const often = 32
	s.newTasks++
	return s.newTasks%often == 0 && s.fewLines(space)
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
		n = s.lost()
		return nil
	}
	if errors.Is(s.loop.Do(get), ErrEnded) {
		<-s.done
		_ = get()
	}
	return n
}
