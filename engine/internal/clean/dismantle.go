package clean

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// Dismantle takes all of ptracer's out of a space: patches, the guard, debug registers, then the
// mappings. The space's tasks are halted. The mappings stay if a task that did not stop may come
// back to them, and the error says so.
func (c *Cleaner) Dismantle(space *inferior.Space, ps []*inferior.Process, pause breakpoint.Pause) error {
	if space.Table == nil {
		return nil
	}
	err := space.Table.Clear(pause, space.Table.Sites())
	space.Skips = nil
	var within error
	if space.Table.Prepared() && unwatched(space, ps) {
		within = c.leaveOurs(space, space.Table, ps)
	}
	var some *inferior.Task
	for _, p := range ps {
		c.plant.Left(p, p.Space.Users == 1)
		c.watch.Left(p, p.Space.Users == 1)
		for _, t := range p.Tasks {
			if !t.AtEvent() {
				continue
			}
			some = t
			if e := c.leaveHere(t); e != nil && !ptrace.IsGone(e) { // the task may still be in a slot
				within = errors.Join(within, e)
			}
		}
	}
	if some == nil || !space.Table.Prepared() {
		return errors.Join(err, within)
	}
	if n := space.Table.Len(); n > 0 && !ptrace.IsGone(err) { // tasks will come to the patches that are left
		return errors.Join(err, fmt.Errorf("%d patches stay in %d, and so do ptracer's mappings", n, ps[0].PID))
	}
	some, e := c.removeGuards(ps)
	if e != nil { // the guard stays the handler of a process
		return errors.Join(err, fmt.Errorf("the code of %d is as it was, ptracer's mappings stay: %w", ps[0].PID, e))
	}
	if some == nil {
		return err
	}
	space.Guard.Installed = false
	if stuck := pause.Stuck(); stuck > 0 {
		return errors.Join(err, fmt.Errorf("%d tasks of %d: %w; the code is as it was, ptracer's mappings stay", stuck, ps[0].PID, tasks.ErrBusy))
	}
	if within == nil && unwatched(space, ps) && len(c.within(space, space.Table, ps)) > 0 {
		within = errWithin // a signal has come during one of the tracer's system calls
	}
	if within != nil {
		return errors.Join(err, within)
	}
	return errors.Join(err, c.unmap(some))
}

// leaveHere takes a halted task out of ptracer's code, and clears its debug registers. The task
// will go on in the program's own code.
func (c *Cleaner) leaveHere(t *inferior.Task) error {
	if err := c.xol.LeaveSlot(t, false); err != nil {
		return err
	}
	err := c.watch.Clear(t)
	return errors.Join(err, t.Flush())
}

// removeGuards gives halted processes their own SIGTRAP handlers back. It returns a task that can
// make system calls for the tracer.
func (c *Cleaner) removeGuards(ps []*inferior.Process) (some *inferior.Task, err error) {
	for _, p := range ps {
		t, e := c.remote.TaskOf(p)
		if e == nil && t != nil {
			some, e = t, c.guard.Remove(t)
		}
		err = errors.Join(err, e)
	}
	return some, err
}

// unmap unmaps all of ptracer's in a task's space. The base area goes last: a tracer that finds it
// finds all that is left. The last calls are made from a stub outside of it.
func (c *Cleaner) unmap(t *inferior.Task) error {
	space := t.Process.Space
	addrs, sizes := space.Table.Areas()
	data := space.Guard.Data
	regions, files := c.inproc.TakeAll(space), space.Files
	space.Threads, space.Stacks = 0, 0
	space.NoThreadSlots, space.ThreadSlotsChecked, space.ThreadsNoted, space.Other = false, false, false, 0
	space.Table = NewTable(c.isa, space.Memory, c.remote.Room(space))
	space.Guard, space.Files = inferior.Guard{}, nil
	var errs []error
	for _, fd := range files {
		_, err := c.remote.Call(t, ptrace.SysClose, uint64(fd))
		errs = append(errs, err)
	}
	for _, r := range regions {
		_, err := c.remote.Call(t, ptrace.SysMunmap, uint64(r.Addr), uint64(r.Size))
		errs = append(errs, err)
	}
	if data != 0 {
		_, err := c.remote.Call(t, ptrace.SysMunmap, uint64(data), inferior.PageSize)
		errs = append(errs, err)
	}
	for i := len(addrs) - 1; i >= 0; i-- {
		_, err := c.remote.Call(t, ptrace.SysMunmap, uint64(addrs[i]), uint64(sizes[i]))
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.remote.ClearScratch(t))...)
}

// NewTable returns a table of sites for a space's memory.
func NewTable(isa arch.ISA, mem *ptrace.Memory, m breakpoint.Mapper) *breakpoint.Table {
	return breakpoint.New(isa, mem, m)
}

// WithoutGuard brings halted tasks out of slots, and gives their processes their own SIGTRAP
// handlers back. Jumps, trampolines and regions stay.
func (c *Cleaner) WithoutGuard(space *inferior.Space, ps []*inferior.Process) error {
	space.Skips, space.Guard.Watches = nil, false
	if err := c.guard.Swallow(space, false); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := c.leaveHere(t); err != nil && !ptrace.IsGone(err) {
				return err
			}
		}
	}
	if err := c.inproc.NameOther(space); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := c.guard.Remove(t); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// Traps returns the sites of a space that are no jumps.
func (c *Cleaner) Traps(space *inferior.Space) (list []*breakpoint.Site) {
	for _, site := range space.Table.Sites() {
		if !site.Jumps() {
			list = append(list, site)
		}
	}
	return list
}
