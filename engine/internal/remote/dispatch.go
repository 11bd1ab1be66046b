package remote

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/failure"
)

// A task may have its own system calls come back to it as SIGSYS, but those that code
// in a range makes (prctl(2), PR_SET_SYSCALL_USER_DISPATCH; Wine does so). Code of ptracer's
// is never in that range, and the kernel looks before a tracer sees the call's entry
// (syscall_enter_from_user_mode). So it is off for each call that the tracer has a task make,
// from before the task goes on up to the call's entry. A tracer that is killed in
// between leaves it off, for that one task. Whatever it leaves else makes no more calls
// for the tracer: on amd64 the stub goes back without one, and no other instruction set has it.

// ErrDispatch is of a task that can't be had to make system calls, for they would come
// back to it, and the kernel can't be told otherwise.
var ErrDispatch error = &failure.Unsupported{
	What:  "the process has its own system calls come back to it as SIGSYS (PR_SET_SYSCALL_USER_DISPATCH), those that probes need, too",
	Needs: "Linux 6.4, to suspend that",
}

// GetDispatch is replaced by tests, which have no older kernel.
var GetDispatch = ptrace.GetDispatch

// DispatchOf is what of a stopped task's system calls comes back to it. A kernel that
// can't tell says nothing: a call that the tracer has it make shows it.
func DispatchOf(t *inferior.Task) (ptrace.Dispatch, error) {
	d, err := GetDispatch(t.TID)
	if errors.Is(err, ptrace.ErrNotKnown) {
		return ptrace.Dispatch{}, nil
	}
	return d, err
}

// Undispatch has the next system call of a stopped task be made, until redispatch.
func Undispatch(t *inferior.Task) error {
	d, err := DispatchOf(t)
	if err == nil && d.On() {
		if err = ptrace.SetDispatch(t.TID, ptrace.Dispatch{}); err == nil {
			t.Dispatch = d
		}
	}
	return err
}

// Redispatch is its end.
func Redispatch(t *inferior.Task) error {
	d := t.Dispatch
	if !d.On() {
		return nil
	}
	t.Dispatch = ptrace.Dispatch{}
	return ptrace.SetDispatch(t.TID, d)
}

// isDispatched reports whether the signal that a task in a stub has got is the stub's call,
// come back to it.
func isDispatched(t *inferior.Task, stop ptrace.Stop) bool {
	const sysUserDispatch = 2 // siginfo.h
	var info ptrace.SigInfo
	return stop.Signal == ptrace.SIGSYS && ptrace.GetSigInfo(t.TID, &info) == nil && info.Code() == sysUserDispatch
}

// Try has a halted task make a call without effect where it is not known
// whether its calls come back to it.
func (c *Caller) Try(t *inferior.Task) error {
	if _, err := GetDispatch(t.TID); !errors.Is(err, ptrace.ErrNotKnown) {
		return err
	}
	_, err := c.Call(t, ptrace.SysGetpid)
	if t.Process.Space.Table.Prepared() {
		return err
	}
	return errors.Join(err, c.ClearScratch(t))
}
