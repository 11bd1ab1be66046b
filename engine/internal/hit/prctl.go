package hit

import (
	"errors"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Calls after which code behind jumps would harm the program. It may have system calls come back to
// it (prctl(2), PR_SET_SYSCALL_USER_DISPATCH), make the CPU's counter of time fault (PR_SET_TSC),
// or set a thread pointer that leads nowhere (arch_prctl(2), ARCH_SET_FS). Hooks see these calls
// before they are made, and jumps are planned again: from then on handlers that ask the kernel or
// the counter run in the engine, and threads count by CPU. What was asked for before the attach is
// found once (hook.learnDispatch, inproc.noTime).

// OnPrctl is the hook before the prctl calls of a program.
func (x *Hits) OnPrctl(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	space, args := t.Process.Space, ptrace.SyscallArgs(r)
	switch {
	case args[0] == ptrace.PrSetDispatch && args[1] != 0 && !space.Dispatches:
		space.Dispatches = true
	case args[0] == ptrace.PrSetTSC && args[1] == ptrace.PrTSCFaults && !space.NoTime:
		space.NoTime, space.TimeChecked = true, true
	default:
		return false, nil
	}
	return true, x.before(t, site, x.jump.PlanAgain)
}

// OnArchPrctl is the hook before the calls by which a thread sets its pointer.
func (x *Hits) OnArchPrctl(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	space, args := t.Process.Space, ptrace.SyscallArgs(r)
	if args[0] != ptrace.ArchSetFS || !space.ThreadSlotsChecked || space.NoThreadSlots || inproc.LeadsToItself(space, args[1]) {
		return false, nil
	}
	return true, x.before(t, site, x.jump.LeaveThreadSlots)
}

// before calls f for a task's process while the task stands at a hook's site, and then lets the
// task go on to the call.
func (x *Hits) before(t *inferior.Task, site *breakpoint.Site, f func(*inferior.Process) error) error {
	t.SetPC(site.Resume) // the task goes on there if the tracer dies meanwhile
	t.Hold++
	err := f(t.Process)
	if t.Hold--; t.State != inferior.Stopped {
		return err
	}
	return errors.Join(err, x.PassCall(t, site))
}
