package hit

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
)

// Syscall user dispatch and sites at system calls. A program may have system calls come back to it
// (SIGSYS) unless they are made from a range of its code, or its selector byte allows them. A site
// at such a call executes the call in its slot, which is outside the range. So the tracer turns the
// dispatch off, lets the task enter the call from the slot, and turns the dispatch on again at the
// call's entry. From there on the call is the program's own: it goes on, or is restarted, at the
// program's own instruction.

// passDispatched is pass for a site at a system call in a space with syscall user dispatch.
func (x *Hits) passDispatched(t *inferior.Task, site *breakpoint.Site, blocked bool) error {
	t.SetPC(site.Resume)
	if blocked {
		t.Hold++
		err := x.guard.Repair(t)
		if t.Hold--; err != nil || t.State != inferior.Stopped {
			return err
		}
	}
	return x.PassCall(t, site)
}

// PassCall lets a task go on that stands at the slot of a system call.
func (x *Hits) PassCall(t *inferior.Task, site *breakpoint.Site) error {
	d, err := remote.DispatchOf(t)
	if err != nil || !t.Process.Space.Dispatches || !x.lets(t, d, site.End()) {
		return errors.Join(err, x.loop.Resume(t, 0))
	}
	if err := remote.Undispatch(t); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return errors.Join(err, remote.Redispatch(t))
	}
	if err := ptrace.Syscall(t.TID, 0); err != nil {
		return errors.Join(err, remote.Redispatch(t))
	}
	stop, err := x.loop.Next(t)
	if err != nil {
		return err
	}
	if err := remote.Redispatch(t); err != nil && !ptrace.IsGone(err) {
		return err
	}
	switch stop.Kind {
	case ptrace.SyscallStop:
		r, err := t.Regs()
		if err != nil {
			return err
		}
		const enosys = 38 // the result register at a call's entry
		after := *r
		ptrace.SyscallReturn(&after, ^uint64(enosys-1), site.End())
		t.SetRegs(&after)
	case ptrace.Trap, ptrace.Group: // the task comes to the site again
		if err := x.xol.LeaveSlot(t, true); err != nil {
			return err
		}
	}
	return x.loop.Decide(t, stop)
}

// lets reports whether the kernel would make a task's call that ends at an address: because of the
// range, or because of the selector byte.
func (x *Hits) lets(t *inferior.Task, d ptrace.Dispatch, end arch.Addr) bool {
	if !d.On() || uint64(end)-d.Offset < d.Len {
		return d.On()
	}
	const allow = 0 // SYSCALL_DISPATCH_FILTER_ALLOW
	var b [1]byte
	return d.Selector != 0 && t.Process.Space.Memory.Read(arch.Addr(d.Selector), b[:]) == nil && b[0] == allow
}
