package engine

import (
	"fmt"
	"time"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// decider is a session as its thread asks it: it implements tasks.Decider.
type decider struct{ *session }

// Decide is the table of what a stop leads to; each case is one line.
func (s decider) Decide(t *inferior.Task, stop ptrace.Stop) error {
	switch stop.Kind {
	case ptrace.Signal:
		return s.hit.OnSignal(t, stop)
	case ptrace.Trap:
		return s.life.OnTrap(t)
	case ptrace.Group:
		return s.life.OnGroup(t)
	case ptrace.SyscallStop:
		return s.loop.Resume(t, 0)
	case ptrace.Clone, ptrace.Fork, ptrace.VFork:
		return s.life.OnNewTask(t, stop.Kind)
	case ptrace.VForkDone:
		return s.aside.OnVForkDone(t)
	case ptrace.Exec:
		return s.life.OnExec(t)
	case ptrace.Exit:
		return s.life.OnExiting(t)
	case ptrace.Exited, ptrace.Killed:
		return s.life.OnEnd(t, stop)
	default:
		return s.loop.Resume(t, 0)
	}
}

// Stray takes a stop of a process that is lent to another tracer, and is a child of this one still.
func (s decider) Stray(stop ptrace.Stop) bool { return s.aside.Stray(stop) }

// Idle lets tasks go that were kept from a call, and writes what is known of spaces into them.
func (s decider) Idle() {
	s.aside.TakeLate()
	s.guard.Settle()
}

// Orphan cleans an orphan and lets it go.
func (s decider) Orphan(task int) { s.life.Orphan(task) }

// Exiting looks at a process that is about to end.
func (s decider) Exiting(t *inferior.Task) error { return s.life.OnExiting(t) }

// Continue lets a task run on.
func (s decider) Continue(t *inferior.Task, signal ptrace.Signo) error {
	return s.guard.Continue(t, signal)
}

// Warn tells of what goes wrong.
func (s decider) Warn(p *inferior.Process, format string, args ...any) {
	e := event.Event{Kind: event.Warning, Text: fmt.Sprintf(format, args...)}
	if p != nil {
		e.PID = p.PID
	}
	s.Tell(&e, false)
}

// Failed tells why the session has ended.
func (s decider) Failed(why error) {
	s.Tell(&event.Event{Kind: event.Failed, Text: why.Error()}, true)
}

// Closed keeps what was counted.
func (s decider) Closed() { s.plant.KeepCounts() }

// End does what is left to do behind the last process.
func (s decider) End(fell bool) {
	if s.objects.Past == nil {
		_ = s.objects.Cache.Close() // else symbols are still to be read: the files close themselves
	}
	s.uprobe.Wait()
	s.resident.EndStore()
	s.Queue.End()
	if !fell {
		close(s.done)
		return
	}
	tid := ptrace.ThreadID()
	go func() {
		for ptrace.HasThread(tid) {
			time.Sleep(time.Millisecond)
		}
		close(s.done)
	}()
}
