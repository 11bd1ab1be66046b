package inproc

import (
	"encoding/binary"
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

// ErrNoLines is of a space in which threads can't be told apart, or not all of them.
var ErrNoLines = errors.New("a thread's pointer is not what the ABI says, or there are too many threads")

// finding is what a thread finds that is its own: a line, or a stack.
type finding uint8

const (
	nothing finding = iota
	ByLine
	ByStack
)

// Finds says what threads find at a place of m. The dynamic loader's own code runs
// before there is any thread pointer; Go's threads have none of the ABI's kind, and
// their stacks no room for handlers.
func (x *InProcess) Finds(p *inferior.Process, m *symbols.Module, way compile.Way, handler bool) finding {
	switch {
	case way.Stack > 0 && handler && x.HaveStacks():
		return ByStack
	case !x.TakeLines():
		return nothing
	case way.Stack > 0, p.Space.NoLines, m != nil && m.Loader:
		return nothing
	}
	return ByLine
}

// TakeLines is whether there are lines on this machine.
func (x *InProcess) TakeLines() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Lined(ctx)
}

// HaveStacks is whether there are stacks of ours on this machine.
func (x *InProcess) HaveStacks() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Stacked(ctx)
}

// CheckLines says whether threads of a space can be told apart. In a program that begins
// there is no pointer yet, but will be when anything but the loader runs.
func (x *InProcess) CheckLines(space *inferior.Space, known Pointers) error {
	if !x.LooksAtLines(space) {
		return nil
	}
	seen := map[uint64]bool{}
	if x.FewLines(space) {
		space.NoLines = true
		return ErrNoLines
	}
	for _, p := range x.loop.Sharing(space) {
		for _, t := range p.Tasks {
			pointer, err := x.leads(t, known[t])
			if seen[pointer] && err == nil {
				err = fmt.Errorf("task %d: %w", t.TID, ErrNoLines) // another's
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

// ThreadPointer is a task's pointer to its own data, if code can go by it.
func (x *InProcess) ThreadPointer(t *inferior.Task) (uint64, error) {
	to, err := ptrace.ThreadPointer(t.TID)
	return x.leads(t, pointer{to, err})
}

// leads is what is known of a task's pointer, if code can go by it.
func (x *InProcess) leads(t *inferior.Task, known pointer) (uint64, error) {
	switch {
	case known.Err != nil:
		return 0, known.Err
	case known.To == 0 && t.Process.HasLoader():
		return 0, nil
	}
	if !LeadsToItself(t.Process.Space, known.To) {
		return 0, fmt.Errorf("task %d: %w", t.TID, ErrNoLines)
	}
	return known.To, nil
}

// mostLines is from how many lines on that are taken, or may be by the threads that
// are there, code goes by CPUs: in good time before there are none.
const mostLines = maps.Lines * 3 / 4

// FewLines reports whether there may soon be no line for one of a space's tasks: the
// lines that are taken and its tasks, or all tasks that may take one, are too many.
// Lines of processes that have ended are free.
func (x *InProcess) FewLines(space *inferior.Space) bool {
	own, all := 0, 0
	for _, p := range x.loop.Procs {
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
	return len(x.counters) > 0 && x.counters[0].Set().NextLine()+own >= mostLines &&
		x.counters[0].InUse(ptrace.Exists)+own >= mostLines
}

// FewerLines is fewLines when a task begins, of which there may be thousands: it looks
// now and then.
func (x *InProcess) FewerLines(space *inferior.Space) bool {
	const often = 32
	x.newTasks++
	return x.newTasks%often == 0 && x.FewLines(space)
}

// LeadsToItself is whether code can go by a thread pointer: the word there is it.
func LeadsToItself(space *inferior.Space, pointer uint64) bool {
	var b [8]byte
	return pointer != 0 && space.Memory.Read(arch.Addr(pointer), b[:]) == nil && binary.LittleEndian.Uint64(b[:]) == pointer
}
