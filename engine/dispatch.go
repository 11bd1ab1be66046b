package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A task may have its own system calls come back to it as SIGSYS, but those that code
// in a range makes (prctl(2), PR_SET_SYSCALL_USER_DISPATCH; Wine does so). Code of ours
// is never in that range, and the kernel looks before a tracer sees the call's entry
// (syscall_enter_from_user_mode). So it is off for each call that the tracer has a task make,
// from before the task goes on up to the call's entry. A tracer that is killed in
// between leaves it off, for that one task. Whatever it leaves else makes no more calls
// of ours: on amd64 the stub goes back without one, and no other instruction set has it.

// ErrDispatch is of a task that can't be had to make system calls, for they would come
// back to it, and the kernel can't be told otherwise.
var ErrDispatch = errors.New("the process has its own system calls come back to it as SIGSYS (PR_SET_SYSCALL_USER_DISPATCH), " +
	"those that probes need, too; to suspend that takes Linux 6.4")

// getDispatch is replaced by tests, which have no older kernel.
var getDispatch = ptrace.GetDispatch

// dispatchOf is what of a stopped task's system calls comes back to it. A kernel that
// can't tell says nothing: a call of ours shows it.
func dispatchOf(t *inferior.Task) (ptrace.Dispatch, error) {
	d, err := getDispatch(t.TID)
	if errors.Is(err, ptrace.ErrUnsupported) {
		return ptrace.Dispatch{}, nil
	}
	return d, err
}

// undispatch has the next system call of a stopped task be made, until redispatch.
func undispatch(t *inferior.Task) error {
	d, err := dispatchOf(t)
	if err == nil && d.On() {
		if err = ptrace.SetDispatch(t.TID, ptrace.Dispatch{}); err == nil {
			t.Dispatch = d
		}
	}
	return err
}

// redispatch is its end.
func redispatch(t *inferior.Task) error {
	d := t.Dispatch
	if !d.On() {
		return nil
	}
	t.Dispatch = ptrace.Dispatch{}
	return ptrace.SetDispatch(t.TID, d)
}

// isDispatched is whether the signal that a task in our stub has got is that call of
// ours, come back to it.
func isDispatched(t *inferior.Task, stop ptrace.Stop) bool {
	const sysUserDispatch = 2 // siginfo.h
	var info ptrace.SigInfo
	return stop.Signal == ptrace.SIGSYS && ptrace.GetSigInfo(t.TID, &info) == nil && info.Code() == sysUserDispatch
}

// tryCalls has a halted task make a call without effect where it is not known
// whether its calls come back to it.
func (s *session) tryCalls(t *inferior.Task) error {
	if _, err := getDispatch(t.TID); !errors.Is(err, ptrace.ErrUnsupported) {
		return err
	}
	_, err := s.call(t, ptrace.SysGetpid)
	if t.Process.Space.Table.Prepared() {
		return err
	}
	return errors.Join(err, s.clearScratch(t))
}

// A site on a system call of the program's own has that in its slot, from where it would
// come back. So it is entered from there with that off, too, and from its entry on it is
// the program's: it goes on, or is made again, where the program has it.

// errCallInside is why no jump displaces such a call: the tracer does not see a hit of a jump.
var errCallInside = errors.New("a system call in it would come back to the program (PR_SET_SYSCALL_USER_DISPATCH)")

// passDispatched is pass at a system call in a space where some come back.
func (s *session) passDispatched(t *inferior.Task, site *breakpoint.Site, blocked bool) error {
	t.SetPC(site.Resume)
	if blocked {
		t.Hold++
		err := s.repairGuard(t)
		if t.Hold--; err != nil || t.State != inferior.Stopped {
			return err
		}
	}
	return s.passCall(t, site)
}

// passCall lets a task that stands at the slot of a system call go on.
func (s *session) passCall(t *inferior.Task, site *breakpoint.Site) error {
	d, err := dispatchOf(t)
	if err != nil || !t.Process.Space.Dispatches || !s.lets(t, d, site.End()) {
		return errors.Join(err, s.loop.Resume(t, 0))
	}
	if err := undispatch(t); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return errors.Join(err, redispatch(t))
	}
	if err := ptrace.Syscall(t.TID, 0); err != nil {
		return errors.Join(err, redispatch(t))
	}
	stop, err := s.loop.Next(t)
	if err != nil {
		return err
	}
	if err := redispatch(t); err != nil && !ptrace.IsGone(err) {
		return err
	}
	switch stop.Kind {
	case ptrace.SyscallStop:
		r, err := t.Regs()
		if err != nil {
			return err
		}
		const enosys = 38 // what its entry has as the result
		after := *r
		ptrace.SyscallReturn(&after, ^uint64(enosys-1), site.End())
		t.SetRegs(&after)
	case ptrace.Trap, ptrace.Group: // it comes to the site again
		if err := s.leaveSlot(t, true); err != nil {
			return err
		}
	}
	return s.Decide(t, stop)
}

// lets is whether a task's call that ends at an address would be made: by the range,
// or by the byte that the program says it with.
func (s *session) lets(t *inferior.Task, d ptrace.Dispatch, end arch.Addr) bool {
	if !d.On() || uint64(end)-d.Offset < d.Len {
		return d.On()
	}
	const allow = 0 // SYSCALL_DISPATCH_FILTER_ALLOW
	var b [1]byte
	return d.Selector != 0 && t.Process.Space.Memory.Read(arch.Addr(d.Selector), b[:]) == nil && b[0] == allow
}
