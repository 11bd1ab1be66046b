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

// Lines. A thread of a traced program counts in words of its own, its line (package maps, Lines).
// It finds its line by its thread pointer, the pointer to its own data. This is right if no two
// threads have the same pointer, and if the word that it points to is the pointer itself, because
// the code reads it from there. So it is in programs with a libc's threads. The tracer checks
// it in the pause in which the first such code is planted, and for each thread that comes later. If
// it is not so, threads count by CPU, with atomic instructions.

// ErrNoLines says that the threads of a space can't be told apart, or that there are more of them
// than lines.
var ErrNoLines = errors.New("a thread's pointer is not what the ABI says, or there are too many threads")

// finding is what a thread finds by its thread pointer: a line, or a stack.
type finding uint8

const (
	nothing finding = iota
	ByLine          // a line, and nothing else
	ByStack         // a stack of ptracer's, which has a line
)

// Finds returns what threads find at a place of m. The dynamic loader's own code runs before there
// is a thread pointer. Go's threads have no pointer as the ABI has it, and their stacks have no
// room for handlers.
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

// TakeLines reports whether there are lines on this machine.
func (x *InProcess) TakeLines() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Lined(ctx)
}

// HaveStacks reports whether handlers have stacks of their own on this machine.
func (x *InProcess) HaveStacks() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Stacked(ctx)
}

// CheckLines returns ErrNoLines if the threads of a space can't be told apart. A program that
// begins has no thread pointer yet; it will have one when anything but the loader runs.
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
				err = fmt.Errorf("task %d: %w", t.TID, ErrNoLines) // another task has the pointer
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

// ThreadPointer returns a task's thread pointer, or an error if code can't use it.
func (x *InProcess) ThreadPointer(t *inferior.Task) (uint64, error) {
	to, err := ptrace.ThreadPointer(t.TID)
	return x.leads(t, pointer{to, err})
}

// leads returns a task's thread pointer from what is known of it, or an error if code can't use it.
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

// mostLines is how many lines may be taken, or may be needed by the threads that are there. With
// more, code counts by CPU, before the lines run out.
const mostLines = maps.Lines * 3 / 4

// FewLines reports whether lines may soon run out for a space's tasks: too many are taken, with
// those that its tasks need, or too many tasks may take one. The lines of processes that have ended
// are free.
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

// FewerLines is FewLines when a task begins. There may be thousands of tasks, so it looks at each
// 32nd.
func (x *InProcess) FewerLines(space *inferior.Space) bool {
	const often = 32
	x.newTasks++
	return x.newTasks%often == 0 && x.FewLines(space)
}

// LeadsToItself reports whether code can use a thread pointer: the word that it points to is
// itself.
func LeadsToItself(space *inferior.Space, pointer uint64) bool {
	var b [8]byte
	return pointer != 0 && space.Memory.Read(arch.Addr(pointer), b[:]) == nil && binary.LittleEndian.Uint64(b[:]) == pointer
}
