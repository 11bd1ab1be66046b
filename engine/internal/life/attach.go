package life

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Back has the settings of a process that comes back from another tracer.
type Back struct {
	Ancestors []int
	Follow    bool
}

// Attach seizes every task of a process, in passes until a pass finds no new task. No task stops
// for it, unless the process comes back from another tracer (back is not nil). What a dead tracer
// has left is taken out, and the probes that there are are planted. If ctx is done before all tasks
// are seized, they are let go.
func (x *Life) Attach(ctx context.Context, pid int, back *Back) error {
	if x.loop.Procs[pid] != nil || x.Lent[pid] {
		return fmt.Errorf("attach to %d: it is in this session already", pid)
	}
	mem, err := ptrace.OpenMemory(procfs.LiveTask(pid))
	if err != nil {
		return access.Explain(pid, err)
	}
	p := x.addProcess(pid, &inferior.Space{})
	x.newSpace(p, mem)
	if err := x.seizeAll(ctx, p); err != nil {
		x.abandon(p)
		return access.Explain(pid, err)
	}
	// It may have executed another program before it was seized.
	if mem, err = ptrace.OpenMemory(procfs.LiveTask(pid)); err != nil {
		x.abandon(p)
		return access.Explain(pid, err)
	}
	_ = p.Space.Memory.Close()
	x.newSpace(p, mem)
	if back != nil {
		p.Ancestors, p.Follow = back.Ancestors, back.Follow
		x.loop.HaltAll([]*inferior.Process{p}) // they stand until the new probes are in the place of those that stayed
		defer x.loop.UnhaltAll(p)
	}
	switch err = x.clean.Recover(p); {
	case errors.Is(err, access.ErrResident):
		x.abandon(p)
		return access.Resident(pid)
	case errors.Is(err, clean.ErrComesBack):
		x.abandon(p)
		return fmt.Errorf("attach to %d: %w", pid, err)
	case err != nil && !ptrace.IsGone(err) && !errors.Is(err, os.ErrNotExist): // if the process is gone, its end is told next
		x.loop.Warn(p, "clean up after an earlier tracer: %v", err)
	}
	if err := x.o.Attached(pid); err != nil {
		x.abandon(p)
		return err
	}
	x.Rescan(p)
	return nil
}

// seizeAll seizes the tasks of a process.
func (x *Life) seizeAll(ctx context.Context, p *inferior.Process) error {
	for {
		tids, err := procfs.Tasks(p.PID)
		if err != nil {
			return err
		}
		found := false
		for _, tid := range tids {
			if p.Tasks[tid] != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			err := ptrace.Seize(tid, (&inferior.Task{TID: tid, Process: p}).Options())
			if errors.Is(err, ptrace.ErrNotPermitted) && x.comesByItself(p, tid) {
				continue // a seized task has cloned it: its event is on its way
			}
			if err != nil && hasEnded(p.PID, tid, err) {
				continue
			}
			if err != nil {
				return err
			}
			found = true
			x.loop.Add(p, tid, false)
		}
		if !found {
			if len(p.Tasks) == 0 {
				return ptrace.ErrGone
			}
			return ctx.Err()
		}
	}
}

// hasEnded reports whether a task that could not be seized has ended. The kernel does not permit a
// seize from then on (exit_state in ptrace_attach, kernel/ptrace.c), and a thread may be gone by
// the time that it is looked at.
func hasEnded(pid, tid int, err error) bool {
	state := procfs.State(tid)
	return state == 'Z' || tid != pid && (errors.Is(err, ptrace.ErrGone) || state == 'X' || state == 0)
}

// comesByItself reports whether a task that could not be seized is traced by this session already:
// its clone event has not been waited for yet.
func (x *Life) comesByItself(p *inferior.Process, tid int) bool {
	return procfs.Tracer(tid) == ptrace.ThreadID() && tid != p.PID
}

// abandon lets the tasks go that were seized before an attach failed.
func (x *Life) abandon(p *inferior.Process) {
	for _, t := range p.Tasks {
		if x.loop.Halt(t) == nil {
			_ = ptrace.Detach(t.TID, 0)
		}
		delete(x.loop.Tasks, t.TID)
	}
	if x.loop.Procs[p.PID] == p {
		x.leaveSpace(p)
		delete(x.loop.Procs, p.PID)
	}
}

// AdoptChild takes a program that the session has started into the session. It stands at its exec
// event, and stays stopped for the tracer.
func (x *Life) AdoptChild(pid int) error {
	mem, err := ptrace.OpenMemory(pid)
	if err != nil {
		ptrace.Reap(pid)
		return err
	}
	if err := x.o.Attached(pid); err != nil {
		ptrace.Reap(pid)
		return err
	}
	x.Started[pid] = true
	p := x.addProcess(pid, &inferior.Space{})
	x.newSpace(p, mem)
	t := x.loop.Add(p, pid, false)
	t.Begin(ptrace.Stop{Kind: ptrace.Exec, Task: pid})
	t.User = true
	x.Rescan(p)
	return nil
}
