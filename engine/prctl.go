package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// A program may ask the kernel for something under which code behind jumps would harm
// it: that system calls come back to it (dispatch.go), that the CPU's counter of time
// faults (prctl(2), PR_SET_TSC), a thread pointer that leads nowhere (arch_prctl(2),
// ARCH_SET_FS). The calls are seen before they are made, and the jumps are planned
// again by what is to be: handlers that ask the kernel, or the counter, are the
// engine's from then on, and counts go by CPUs. What was asked for before the attach is
// looked for once.

// onPrctl is in front of the prctl calls of a program.
func (s *session) onPrctl(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
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
	return true, s.before(t, site, s.jump.PlanAgain)
}

// onArchPrctl is in front of the calls by which a thread sets its pointer.
func (s *session) onArchPrctl(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	space, args := t.Process.Space, ptrace.SyscallArgs(r)
	if args[0] != ptrace.ArchSetFS || !space.LinesChecked || space.NoLines || inproc.LeadsToItself(space, args[1]) {
		return false, nil
	}
	return true, s.before(t, site, s.jump.LeaveLines)
}

// before does something to a task's process while the task stands at a hook's site,
// and lets it go on to the call.
func (s *session) before(t *inferior.Task, site *breakpoint.Site, f func(*inferior.Process) error) error {
	t.SetPC(site.Resume) // should the tracer die meanwhile
	t.Hold++
	err := f(t.Process)
	if t.Hold--; t.State != inferior.Stopped {
		return err
	}
	return errors.Join(err, s.passCall(t, site))
}

// learnDispatch finds out whether system calls come back to a task of a process at the
// attach. Where SIGSYS has no handler they don't, and Go's runtime takes every signal.
func (s *session) learnDispatch(p *inferior.Process) error {
	const bitSys = 1 << (31 - 1)
	st, err := procfs.ReadStatus(p.PID)
	if err != nil || st.Hex("SigCgt")&bitSys == 0 || p.IsGo() || p.Space.Dispatches {
		return nil
	}
	return s.loop.WhileHalted(func(breakpoint.Pause) error {
		for _, t := range p.Tasks {
			d, err := remote.DispatchOf(t)
			if err != nil && !ptrace.IsGone(err) {
				return err
			}
			p.Space.Dispatches = p.Space.Dispatches || d.On()
		}
		return nil
	}, p.Space)
}
