package remote

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// A task that has forbidden itself system calls (seccomp(2)) may be killed for those
// that the tracer has it make. Its filters are suspended for each of these where the tracer may do
// that, and only for it: nothing of the program's runs meanwhile, and the kernel puts
// them in force again with the end of the tracing, so that the tracer's death can't lift them
// (__secure_computing, kernel/seccomp.c; __ptrace_unlink, kernel/ptrace.c). Where the tracer
// may not, a task makes no call for it, unless it lives under the very filters that the
// tracer lives under itself: a container's.

// ErrSeccomp is returned for a process whose tasks can't make the system calls that probes
// need.
var ErrSeccomp error = &failure.Unsupported{
	What:  "the process has a seccomp filter of its own, which may kill it for the system calls that probes need",
	Needs: "CAP_SYS_ADMIN, to suspend it",
}

// Seccomp is what a task has forbidden itself, as proc_pid_status(5) tells it. Linux
// before 5.9 does not tell how many filters there are.
type Seccomp struct{ Mode, Filters int }

// SeccompOf reads it of a task.
func SeccompOf(tid int) (Seccomp, error) {
	st, err := procfs.ReadStatus(tid)
	return Seccomp{st.Number("Seccomp"), st.Number("Seccomp_filters")}, err
}

// OwnSeccomp is the calling thread's.
func OwnSeccomp() (Seccomp, error) { return SeccompOf(syscall.Gettid()) }

// CheckSeccomp reports whether a task may make any call that the tracer may make itself; the error
// is ErrSeccomp if not.
func CheckSeccomp(tid int) error {
	theirs, err := SeccompOf(tid)
	if err != nil || theirs.Mode == 0 {
		return nil // one that has gone will say so
	}
	if own, err := OwnSeccomp(); err == nil && own == theirs {
		return nil
	}
	return fmt.Errorf("task %d: %w", tid, ErrSeccomp)
}

// Forbids reports whether an error is that a task can't make system calls for the tracer.
func Forbids(err error) bool { return errors.Is(err, ErrSeccomp) || errors.Is(err, ErrDispatch) }

// suspendFilters suspends the filters of a stopped task, until restoreFilters. It does so whether
// there are any or not, since another thread may put them on it at any time.
func (c *Caller) suspendFilters(t *inferior.Task) error {
	err := ptrace.SetOptions(t.TID, t.Options()|ptrace.SuspendSeccomp)
	switch {
	case err == nil:
		t.Suspended = true
		return nil
	case ptrace.IsGone(err):
		return err
	}
	c.cantSuspend = true
	return CheckSeccomp(t.TID)
}

// restoreFilters puts the filters in force again.
func (c *Caller) restoreFilters(t *inferior.Task) error {
	if !t.Suspended {
		return nil
	}
	t.Suspended = false
	return ptrace.SetOptions(t.TID, t.Options())
}

// MayCall reports whether a halted task can be had to make system calls.
func (c *Caller) MayCall(t *inferior.Task) error {
	err := c.suspendFilters(t)
	return errors.Join(err, c.restoreFilters(t))
}

// TaskOf is a halted task of a process that can be had to make system calls, or nil
// if none is halted.
func (c *Caller) TaskOf(p *inferior.Process) (*inferior.Task, error) {
	var last error
	for _, t := range p.Tasks {
		if !t.AtEvent() {
			continue
		}
		err := c.MayCall(t)
		if err == nil {
			return t, nil
		}
		last = err
	}
	return nil, last
}
