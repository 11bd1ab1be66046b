package life

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A forked child has a copy of what we have put into its parent: of the moment of
// the fork. We are told later, and may have gone on writing into the parent
// meanwhile: then what we know of that is not true of the child. So there is a
// number in the parent's memory that grows when something was written; the child
// has it as it was. A child with another one is cleaned like one of a dead tracer's,
// by what is found in it, and then probed anew.

// onFork takes a child with a copy of the parent's space: sites, slots and
// guard are in the copy already.
func (x *Life) onFork(t *inferior.Task, child int, flags uint64) error {
	parent := t.Process
	mem, err := ptrace.OpenMemory(child)
	if err != nil {
		if inferior.IsEnded(err) { // it died at once
			x.loop.Early(child)
			return err
		}
		x.loop.LetLoose(child)
		return fmt.Errorf("it is not traced: %w", inferior.Unopened(child, "mem", err))
	}
	if x.guard.Stale(parent.Space, mem) {
		x.addStale(t, child, mem, flags)
		return nil
	}
	mem.Note = &x.guard.Written
	space := parent.Space.Fork(mem)
	space.Table = parent.Space.Table.Clone(mem, x.remote.Room(space))
	p := x.addForked(parent, child, space)
	p.Traps, p.Guarded, p.Reguard = parent.Traps, parent.Guarded, flags&cloneCleared != 0
	if err := x.guard.InheritAction(p, actionOf(parent, flags)); err != nil {
		x.loop.Warn(p, "child %d: %v", child, err)
	}
	for k, m := range parent.Modules {
		p.Modules[k] = m
	}
	for _, room := range x.rooms {
		room.Forked(parent, p)
	}
	x.lifeEvent(&event.Event{Kind: event.Fork, PID: parent.PID, TID: t.TID, Child: child}, p)
	for _, k := range parent.Space.Skips {
		if k.TID == t.TID {
			space.Skips = append(space.Skips, inferior.Skip{TID: child, Addr: k.Addr, SP: k.SP})
		}
	}
	x.loop.TakeEarly(x.loop.Add(p, child, true))
	return nil
}

// addForked makes a forked child known.
func (x *Life) addForked(parent *inferior.Process, child int, space *inferior.Space) *inferior.Process {
	p := x.addProcess(child, space)
	x.descend(p, parent)
	p.Leaving = parent.Silent || !parent.Follow
	p.Silent, p.Name = p.Leaving, parent.Name
	return p
}

// descend gives a new process what it has from its parent.
func (x *Life) descend(p, parent *inferior.Process) {
	p.Ancestors = append(slices.Clip(parent.Ancestors), parent.PID)
	p.Follow, p.Allowed = parent.Follow, maps.Clone(parent.Allowed)
}

// addStale makes a child known whose copy is not what we know: until its first
// stop, in which it is cleaned.
func (x *Life) addStale(t *inferior.Task, child int, mem *ptrace.Memory, flags uint64) {
	p := x.addForked(t.Process, child, &inferior.Space{})
	x.newSpace(p, mem)
	p.Stale = true
	if parent := t.Process; flags&cloneCleared != 0 && parent.Guarded { // the guard is in its copy
		own := actionOf(parent, flags)
		p.Old, p.Guarded, p.Reguard = &own, true, true
		p.Space.Guard.Data, p.Space.Guard.Ours = parent.Space.Guard.Data, parent.Space.Guard.Ours
	}
	x.lifeEvent(&event.Event{Kind: event.Fork, PID: t.Process.PID, TID: t.TID, Child: child}, p)
	x.loop.TakeEarly(x.loop.Add(p, child, true))
}

// onStale is such a child's first stop.
func (x *Life) onStale(t *inferior.Task) error {
	p := t.Process
	p.Stale = false
	t.Hold++ // all the time
	if err := x.clean.Recover(p); err != nil && !ptrace.IsGone(err) {
		x.loop.Warn(p, "clean child %d: %v", p.PID, err)
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	p.Old = nil // the kernel has it
	if p.Leaving {
		return x.Release(p)
	}
	x.Rescan(p)
	err := x.watch.Set(t)
	return errors.Join(err, x.loop.Unhalt(t))
}

// A child of clone3 may be made without handlers (CLONE_CLEAR_SIGHAND): it has no guard,
// and of the program's own action what the kernel would have left.

// actionOf is the SIGTRAP action that a child of a process begins with.
func actionOf(parent *inferior.Process, flags uint64) ptrace.SigAction {
	if flags&cloneCleared != 0 {
		return guard.OwnAction(parent).Cleared()
	}
	return *guard.OwnAction(parent)
}
