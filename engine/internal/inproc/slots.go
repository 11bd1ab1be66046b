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

// Thread slots. A thread of a traced program counts in words of its own, its slot (package maps,
// Slots). It finds its slot by its thread pointer, the pointer to its own data. This is right if no two
// threads have the same pointer, and if the word that it points to is the pointer itself, because
// the code reads it from there. So it is in programs with a libc's threads. The tracer checks
// it in the pause in which the first such code is planted, and for each thread that comes later. If
// it is not so, threads count by CPU, with atomic instructions.

// ErrNoThreadSlots says that the threads of a space can't be told apart, or that there are more of them
// than slots.
var ErrNoThreadSlots = errors.New("a thread's pointer is not what the ABI says, or there are too many threads")

// Own says what a thread has of its own, found by its thread pointer.
type Own uint8

const (
	OwnNothing    Own = iota
	OwnThreadSlot     // a slot
	OwnStack          // a stack of ptracer's, which has a slot
)

// OwnAt returns what threads have of their own at a place of m. The dynamic loader's own code runs
// before there is a thread pointer. Go's threads have no pointer as the ABI has it, and their stacks
// have no room for handlers.
func (x *InProcess) OwnAt(p *inferior.Process, m *symbols.Module, way compile.Way, handler bool) Own {
	switch {
	case way.Stack > 0 && handler && x.HaveStacks():
		return OwnStack
	case !x.TakeThreadSlots():
		return OwnNothing
	case way.Stack > 0, p.Space.NoThreadSlots, m != nil && m.Loader:
		return OwnNothing
	}
	return OwnThreadSlot
}

// TakeThreadSlots reports whether there are slots on this machine.
func (x *InProcess) TakeThreadSlots() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Slotted(ctx)
}

// HaveStacks reports whether handlers have stacks of their own on this machine.
func (x *InProcess) HaveStacks() bool {
	ctx, err := program.ContextOf(x.isa.Name())
	return err == nil && handler.Stacked(ctx)
}

// CheckThreadSlots returns ErrNoThreadSlots if the threads of a space can't be told apart. A program that
// begins has no thread pointer yet; it will have one when anything but the loader runs.
func (x *InProcess) CheckThreadSlots(space *inferior.Space, known Pointers) error {
	if !x.LooksAtThreadSlots(space) {
		return nil
	}
	seen := map[uint64]bool{}
	if x.FewThreadSlots(space) {
		space.NoThreadSlots = true
		return ErrNoThreadSlots
	}
	for _, p := range x.loop.Sharing(space) {
		for _, t := range p.Tasks {
			pointer, err := x.leads(t, known[t])
			if seen[pointer] && err == nil {
				err = fmt.Errorf("task %d: %w", t.TID, ErrNoThreadSlots) // another task has the pointer
			}
			if err != nil && !ptrace.IsGone(err) {
				space.NoThreadSlots = true
				return err
			}
			seen[pointer] = true
		}
	}
	space.ThreadSlotsChecked = true
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
		return 0, fmt.Errorf("task %d: %w", t.TID, ErrNoThreadSlots)
	}
	return known.To, nil
}

// mostThreadSlots is how many slots may be taken, or may be needed by the threads that are there. With
// more, code counts by CPU, before the slots run out.
const mostThreadSlots = maps.Slots * 3 / 4

// FewThreadSlots reports whether slots may soon run out for a space's tasks: too many are taken, with
// those that its tasks need, or too many tasks may take one. The slots of processes that have ended
// are free.
func (x *InProcess) FewThreadSlots(space *inferior.Space) bool {
	own, all := 0, 0
	for _, p := range x.loop.Procs {
		switch {
		case p.Space == space:
			own += len(p.Tasks)
		case p.Space.ThreadSlotsChecked && !p.Space.NoThreadSlots:
			all += len(p.Tasks)
		}
	}
	if own+all >= mostThreadSlots {
		return true
	}
	return len(x.counters) > 0 && x.counters[0].Set().NextSlot()+own >= mostThreadSlots &&
		x.counters[0].InUse(ptrace.Exists)+own >= mostThreadSlots
}

// FewerThreadSlots is FewThreadSlots when a task begins. There may be thousands of tasks, so it looks at each
// 32nd.
func (x *InProcess) FewerThreadSlots(space *inferior.Space) bool {
	const often = 32
	x.newTasks++
	return x.newTasks%often == 0 && x.FewThreadSlots(space)
}

// LeadsToItself reports whether code can use a thread pointer: the word that it points to is
// itself.
func LeadsToItself(space *inferior.Space, pointer uint64) bool {
	var b [8]byte
	return pointer != 0 && space.Memory.Read(arch.Addr(pointer), b[:]) == nil && binary.LittleEndian.Uint64(b[:]) == pointer
}
