package hit

import (
	"errors"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A program may ask the kernel for something under which code behind jumps would harm
// it: that system calls come back to it (dispatch.go), that the CPU's counter of time
// faults (prctl(2), PR_SET_TSC), a thread pointer that leads nowhere (arch_prctl(2),
// ARCH_SET_FS). The calls are seen before they are made, and the jumps are planned
// again by what is to be: handlers that ask the kernel, or the counter, are the
// engine's from then on, and counts go by CPUs. What was asked for before the attach is
// looked for once.

// onPrctl is in front of the prctl calls of a program.
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

// OnArchPrctl is in front of the calls by which a thread sets its pointer.
func (x *Hits) OnArchPrctl(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	space, args := t.Process.Space, ptrace.SyscallArgs(r)
	if args[0] != ptrace.ArchSetFS || !space.LinesChecked || space.NoLines || inproc.LeadsToItself(space, args[1]) {
		return false, nil
	}
	return true, x.before(t, site, x.jump.LeaveLines)
}

// before does something to a task's process while the task stands at a hook's site,
// and lets it go on to the call.
func (x *Hits) before(t *inferior.Task, site *breakpoint.Site, f func(*inferior.Process) error) error {
	t.SetPC(site.Resume) // should the tracer die meanwhile
	t.Hold++
	err := f(t.Process)
	if t.Hold--; t.State != inferior.Stopped {
		return err
	}
	return errors.Join(err, x.PassCall(t, site))
}
