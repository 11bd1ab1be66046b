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

// Forked children. A forked child has a copy of what lay in its parent's memory at the moment of
// the fork. The tracer is told of the fork later, and may have written into the parent meanwhile.
// Then what the tracer knows of the parent is not true of the child. So a number in the parent's
// memory, the epoch, grows after each batch of writes. A child with another epoch is stale: it is
// cleaned like a child of a dead tracer's, by what is found in it, and then gets its probes anew.

// onFork takes a child with a copy of its parent's space. Sites, slots and guard are in the copy.
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
	x.lifeEvent(p, parent.PID, t.TID, &event.Fork{Child: child})
	for _, k := range parent.Space.Skips {
		if k.TID == t.TID {
			space.Skips = append(space.Skips, inferior.Skip{TID: child, Addr: k.Addr, SP: k.SP})
		}
	}
	x.loop.TakeEarly(x.loop.Add(p, child, true))
	return nil
}

// addForked adds a forked child to the session.
func (x *Life) addForked(parent *inferior.Process, child int, space *inferior.Space) *inferior.Process {
	p := x.addProcess(child, space)
	x.descend(p, parent)
	p.Leaving = parent.Silent || !parent.Follow
	p.Silent, p.Name = p.Leaving, parent.Name
	return p
}

// descend gives a new process the settings that it inherits.
func (x *Life) descend(p, parent *inferior.Process) {
	p.Ancestors = append(slices.Clip(parent.Ancestors), parent.PID)
	p.Follow, p.Allowed = parent.Follow, maps.Clone(parent.Allowed)
}

// addStale adds a stale child to the session. It is cleaned in its first stop.
func (x *Life) addStale(t *inferior.Task, child int, mem *ptrace.Memory, flags uint64) {
	p := x.addForked(t.Process, child, &inferior.Space{})
	x.newSpace(p, mem)
	p.Stale = true
	if parent := t.Process; flags&cloneCleared != 0 && parent.Guarded { // the guard is in the child's copy
		own := actionOf(parent, flags)
		p.Old, p.Guarded, p.Reguard = &own, true, true
		p.Space.Guard.Data, p.Space.Guard.Ours = parent.Space.Guard.Data, parent.Space.Guard.Ours
	}
	x.lifeEvent(p, t.Process.PID, t.TID, &event.Fork{Child: child})
	x.loop.TakeEarly(x.loop.Add(p, child, true))
}

// onStale decides the first stop of a stale child.
func (x *Life) onStale(t *inferior.Task) error {
	p := t.Process
	p.Stale = false
	t.Hold++ // while the child is cleaned and probed
	if err := x.clean.Recover(p); err != nil && !ptrace.IsGone(err) {
		x.loop.Warn(p, "clean child %d: %v", p.PID, err)
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	p.Old = nil // the kernel has the action of the child's own now
	if p.Leaving {
		return x.Release(p)
	}
	x.Rescan(p)
	err := x.watch.Set(t)
	return errors.Join(err, x.loop.Unhalt(t))
}

// A child of clone3 may begin without its parent's handlers (CLONE_CLEAR_SIGHAND). Then it has no
// guard, and of the program's own action it has what the kernel leaves.

// actionOf returns the SIGTRAP action with which a child of a process begins.
func actionOf(parent *inferior.Process, flags uint64) ptrace.SigAction {
	if flags&cloneCleared != 0 {
		return guard.OwnAction(parent).Cleared()
	}
	return *guard.OwnAction(parent)
}
