package aside

import (
	"fmt"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Programs that trace. One that we trace may want another tracer: a debugger's
// child that asks for its parent (PTRACE_TRACEME), a process that another one of
// ours attaches to, one whose crash handler or leak checker is a task that looks
// at the others (Breakpad, LeakSanitizer: clone with CLONE_UNTRACED). The calls
// are seen before they are made, and we step aside.

// How long nobody need come.
const (
	attachWait = time.Second     // the call that says so comes next
	cloneWait  = 2 * time.Second // a new task has to get ready
)

// OnPtrace is in front of the ptrace calls of a program.
func (x *Aside) OnPtrace(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil || site.Rung != breakpoint.Slot {
		return false, err
	}
	if ptrace.SyscallNumber(r) != ptrace.SysPtrace { // Go makes all its calls there
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

// attaches is for a task that is about to attach to another one.
func (x *Aside) attaches(t *inferior.Task, site *breakpoint.Site, tid int) (moved bool, err error) {
	of, a := x.loop.Tasks[tid], x.awayTask(tid)
	switch {
	case a == nil && (of == nil || of.Process == t.Process || of.Process.Silent):
		return false, nil
	case x.loop.Pumping():
		return true, x.callLater(t, site)
	}
	t.SetPC(site.Resume) // should the tracer die meanwhile
	if a == nil {
		a = awayFor(attachWait)
		a.tracer, a.keep = t.Process.PID, procfs.SameProgram(t.Process.PID, of.Process.PID)
		if !x.makeWay(of.Process, a, fmt.Sprintf("process %d (%s) traces it", t.Process.PID, t.Process.Name)) {
			return true, x.loop.Resume(t, 0)
		}
	}
	return true, x.makeCall(t, a)
}

// makeCall has a task that stands before a call that attaches make it. No process is
// taken back meanwhile, and from then on the kernel tells whether one is traced.
func (x *Aside) makeCall(t *inferior.Task, a *away) error {
	for range 2 { // into the call, and out of it
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

// callLater keeps a task from its call while a request is in progress that takes
// others' stops: what the call is about may be on its way. The call is asked again.
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

// awayTask is the process of a task that another has, nil if it is of none.
func (x *Aside) awayTask(tid int) *away {
	if len(x.away) == 0 {
		return nil
	}
	return x.away[procfs.Group(tid)]
}

// makeWay steps aside, or says why not.
func (x *Aside) makeWay(p *inferior.Process, a *away, why string) bool {
	err := x.stepAside(p, a, why)
	if err != nil {
		x.loop.Warn(p, "%s, which fails: %v", why, err)
	}
	return err == nil
}

// traceMe is for a process that is to be traced by its parent.
func (x *Aside) traceMe(t *inferior.Task, site *breakpoint.Site) error {
	p := t.Process
	const why = "its parent traces it (PTRACE_TRACEME)"
	switch {
	case x.life.Started[p.PID]: // by us: it would be ours, and stand for ever
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
		if err := x.lift(a, p); err != nil { // it has its parent's memory, where traps are left
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

// cloneUntraced is CLONE_UNTRACED of sched.h: the kernel does not attach the tracer to
// the new task.
const cloneUntraced = 0x800000

// OnClone is in front of the clone calls that a program makes without a libc. A
// task that is not to be traced looks at the others, mostly, and has the program's
// memory, or a copy of it: a trap of ours would end it, for it has blocked SIGTRAP
// or has another handler.
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
