package aside

import (
	"fmt"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Programs that trace. A traced program may want another tracer: a debugger's child asks for its
// parent (PTRACE_TRACEME), a traced process attaches to another one, or a crash handler or leak
// checker is a task that looks at the others (Breakpad, LeakSanitizer: clone with CLONE_UNTRACED).
// Hooks see these calls before they are made, and the session steps aside.

// How long the session waits for the other tracer.
const (
	attachWait = time.Second     // the call that attaches comes next
	cloneWait  = 2 * time.Second // a new task has to get ready first
)

// OnPtrace is the hook before the ptrace calls of a program.
func (x *Aside) OnPtrace(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	if ptrace.SyscallNumber(r) != ptrace.SysPtrace { // a Go program makes all its calls there
		return false, nil
	}
	args := ptrace.SyscallArgs(r)
	switch args[0] {
	case ptrace.TraceMe:
		return true, x.traceMe(t, site)
	case ptrace.Attach, ptrace.SeizeTask:
		return x.attaches(t, site, int(int32(args[1])))
	}
	return false, nil
}

// attaches serves a task that is about to attach to task tid.
func (x *Aside) attaches(t *inferior.Task, site *breakpoint.Site, tid int) (moved bool, err error) {
	of, a := x.loop.Tasks[tid], x.awayTask(tid)
	switch {
	case a == nil && (of == nil || of.Process == t.Process || of.Process.Silent):
		return false, nil
	case x.loop.Pumping():
		return true, x.callLater(t, site)
	}
	t.SetPC(site.Resume) // the task goes on there if the tracer dies meanwhile
	if a == nil {
		a = awayFor(attachWait)
		a.tracer, a.keep = t.Process.PID, procfs.SameProgram(t.Process.PID, of.Process.PID)
		if !x.makeWay(of.Process, a, fmt.Sprintf("process %d (%s) traces it", t.Process.PID, t.Process.Name)) {
			return true, x.loop.Resume(t, 0)
		}
	}
	return true, x.makeCall(t, a)
}

// makeCall makes a task execute the call that attaches, before which it stands. No process is taken
// back meanwhile. From then on the kernel tells whether the process is traced.
func (x *Aside) makeCall(t *inferior.Task, a *away) error {
	for range 2 { // one step into the call, one out of it
		if err := t.Flush(); err != nil {
			return err
		}
		if err := ptrace.Syscall(t.TID, 0); err != nil {
			return err
		}
		stop, err := x.loop.Next(t)
		if err != nil {
			return err
		}
		if stop.Kind != ptrace.SyscallStop {
			return x.loop.Decide(t, stop)
		}
	}
	a.wait.Store(0)
	return x.loop.Resume(t, 0)
}

// callLater keeps a task from its call while a request is in progress that takes other tasks'
// stops: the process that the call is about may be on its way. The task comes to the hook again.
func (x *Aside) callLater(t *inferior.Task, site *breakpoint.Site) error {
	t.SetPC(site.Addr)
	t.Hold++
	x.late = append(x.late, t)
	return x.loop.Resume(t, 0)
}

// TakeLate lets the tasks go that callLater has kept.
func (x *Aside) TakeLate() {
	late := x.late
	x.late = nil
	for _, t := range late {
		if err := x.loop.Unhalt(t); err != nil && !ptrace.IsGone(err) {
			x.loop.Warn(t.Process, "task %d: %v", t.TID, err)
		}
	}
}

// awayTask returns the loan of a task's process, or nil.
func (x *Aside) awayTask(tid int) *away {
	if len(x.away) == 0 {
		return nil
	}
	return x.away[procfs.Group(tid)]
}

// makeWay steps aside from a process. It warns and reports false if that fails.
func (x *Aside) makeWay(p *inferior.Process, a *away, why string) bool {
	err := x.stepAside(p, a, why)
	if err != nil {
		x.loop.Warn(p, "%s, which fails: %v", why, err)
	}
	return err == nil
}

// traceMe serves a process that asks to be traced by its parent.
func (x *Aside) traceMe(t *inferior.Task, site *breakpoint.Site) error {
	p := t.Process
	const why = "its parent traces it (PTRACE_TRACEME)"
	switch {
	case x.life.Started[p.PID]: // the session is its parent and traces it already: the call is answered
		r, err := t.Regs()
		if err != nil {
			return err
		}
		after := *r
		ptrace.SyscallReturn(&after, 0, site.End())
		t.SetRegs(&after)
		return x.loop.Resume(t, 0)
	case p.VFork != nil:
		a := awayFor(attachWait)
		if err := x.suspendTraps(a, p); err != nil { // traps are left in its parent's memory, in which it runs
			x.loop.Warn(p, "%s, which fails: %v", why, err)
			break
		}
		t.SetPC(site.Addr)
		return x.goAway(p, a, why)
	case x.loop.Pumping():
		return x.callLater(t, site)
	default:
		t.SetPC(site.Addr)
		if x.makeWay(p, awayFor(attachWait), why) {
			return nil
		}
	}
	t.SetPC(site.Resume)
	return x.loop.Resume(t, 0)
}

// cloneUntraced is CLONE_UNTRACED of sched.h: the kernel does not attach the tracer to the new
// task.
const cloneUntraced = 0x800000

// OnClone is the hook before the clone calls that a program makes without a libc. A task that is
// not to be traced mostly looks at the others, and has the program's memory or a copy of it. A trap
// of ptracer's would kill it: it has SIGTRAP blocked, or has another handler.
func (x *Aside) OnClone(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	if ptrace.SyscallArgs(r)[0]&cloneUntraced == 0 {
		return false, nil
	}
	if x.loop.Pumping() {
		return true, x.callLater(t, site)
	}
	t.SetPC(site.Addr)
	a := awayFor(cloneWait)
	a.maker, a.keep = t.TID, true
	if x.makeWay(t.Process, a, "it makes a task that is not to be traced and may trace the others (CLONE_UNTRACED)") {
		return true, nil
	}
	t.SetPC(site.Resume)
	return true, x.loop.Resume(t, 0)
}
