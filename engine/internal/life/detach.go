package life

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// Release removes everything of ours from a process and lets it go. The
// processes that share its space go with it: they could not run without us.
func (x *Life) Release(p *inferior.Process) error {
	var ps []*inferior.Process
	for _, q := range x.loop.Procs {
		if q.Space == p.Space {
			ps = append(ps, q)
		}
	}
	x.plant.NoteLost(p.Space, p.Space.Table.Sites()) // while it runs
	start := ptrace.Now()
	err := x.Dismantle(p.Space, ps, x.loop.HaltAll(ps))
	if ptrace.IsGone(err) { // it was killed meanwhile
		err = nil
	}
	for _, q := range ps {
		err = errors.Join(err, x.Let(q))
	}
	x.loop.Paused(ptrace.Now() - start)
	x.CheckEnd()
	return err
}

// Dismantle restores a space whose tasks are halted: text, signal handler,
// debug registers, then our mappings, unless a task that did not stop may yet
// come back to them.
func (x *Life) Dismantle(space *inferior.Space, ps []*inferior.Process, pause breakpoint.Pause) error {
	if space.Table == nil {
		return nil
	}
	err := space.Table.Clear(pause, space.Table.Sites())
	space.Skips = nil
	var within error
	if space.Table.Prepared() && unwatched(space, ps) {
		within = x.leaveOurs(space, space.Table, ps)
	}
	var some *inferior.Task
	for _, p := range ps {
		x.plant.DropPlacements(p, x.Lent[p.PID])
		for _, t := range p.Tasks {
			if !t.AtEvent() {
				continue
			}
			some = t
			if e := x.leaveHere(t); e != nil && !ptrace.IsGone(e) { // it may be in a slot
				within = errors.Join(within, e)
			}
		}
	}
	if some == nil || !space.Table.Prepared() {
		return errors.Join(err, within)
	}
	if n := space.Table.Len(); n > 0 && !ptrace.IsGone(err) { // tasks come to what is left of them
		return errors.Join(err, fmt.Errorf("%d patches stay in %d, and so do ptracer's mappings", n, ps[0].PID))
	}
	some, e := x.removeGuards(ps)
	if e != nil { // a handler stays ours
		return errors.Join(err, fmt.Errorf("the code of %d is as it was, ptracer's mappings stay: %w", ps[0].PID, e))
	}
	if some == nil {
		return err
	}
	space.Guard.Installed = false
	if stuck := pause.Stuck(); stuck > 0 {
		return errors.Join(err, fmt.Errorf("%d tasks of %d: %w; the code is as it was, ptracer's mappings stay", stuck, ps[0].PID, tasks.ErrBusy))
	}
	if within == nil && unwatched(space, ps) && len(x.within(space, space.Table, ps)) > 0 {
		within = errWithin // since then: a signal came during a system call of ours
	}
	if within != nil {
		return errors.Join(err, within)
	}
	return errors.Join(err, x.unmap(some))
}

// leaveHere takes a halted task out of ptracer's code and debug registers: it goes on where
// the program is.
func (x *Life) leaveHere(t *inferior.Task) error {
	if err := x.xol.LeaveSlot(t, false); err != nil {
		return err
	}
	err := x.watch.Clear(t)
	return errors.Join(err, t.Flush())
}

// removeGuards gives halted processes their own SIGTRAP handlers back: each has its own.
// It gives one of the tasks that it has had make system calls.
func (x *Life) removeGuards(ps []*inferior.Process) (some *inferior.Task, err error) {
	for _, p := range ps {
		t, e := x.remote.TaskOf(p)
		if e == nil && t != nil {
			some, e = t, x.guard.Remove(t)
		}
		err = errors.Join(err, e)
	}
	return some, err
}

// unmap takes our mappings away; the last calls run outside them. The base area is the
// last one: a tracer that finds it finds all that is left.
func (x *Life) unmap(t *inferior.Task) error {
	space := t.Process.Space
	addrs, sizes := space.Table.Areas()
	data := space.Guard.Data
	regions, files := x.inproc.TakeAll(space), space.Files
	space.Threads, space.Stacks = 0, 0
	space.NoLines, space.LinesChecked, space.ThreadsNoted, space.Other = false, false, false, 0
	space.Table = newTable(x.isa, space.Memory, x.remote.Room(space))
	space.Guard, space.Files = inferior.Guard{}, nil
	var errs []error
	for _, fd := range files {
		_, err := x.remote.Call(t, ptrace.SysClose, uint64(fd))
		errs = append(errs, err)
	}
	for _, r := range regions {
		_, err := x.remote.Call(t, ptrace.SysMunmap, uint64(r.Addr), uint64(r.Size))
		errs = append(errs, err)
	}
	if data != 0 {
		_, err := x.remote.Call(t, ptrace.SysMunmap, uint64(data), inferior.PageSize)
		errs = append(errs, err)
	}
	for i := len(addrs) - 1; i >= 0; i-- {
		_, err := x.remote.Call(t, ptrace.SysMunmap, uint64(addrs[i]), uint64(sizes[i]))
		errs = append(errs, err)
	}
	return errors.Join(append(errs, x.remote.ClearScratch(t))...)
}

// Let detaches from all tasks of a process, whose stops it ends.
func (x *Life) Let(p *inferior.Process) error {
	var errs []error
	for _, t := range tasks.InOrder(p) {
		if t.State == inferior.Stopped {
			err := t.Flush()
			err = errors.Join(err, ptrace.Detach(t.TID, t.HeldSig)) // it goes on in any case
			if err != nil && !ptrace.IsGone(err) {
				errs = append(errs, err)
			}
		}
		t.State = inferior.Gone
		delete(x.loop.Tasks, t.TID)
	}
	x.leaveSpace(p)
	delete(x.loop.Procs, p.PID)
	return errors.Join(errs...)
}
