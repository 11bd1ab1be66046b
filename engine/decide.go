package engine

import (
	"fmt"
	"time"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// decider is the session as package tasks sees it. It implements tasks.Decider.
type decider struct{ *session }

// Decide is the table of stops: each kind of stop has one line, which names the room that decides
// it.
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

// Stray takes a stop of a child that is lent to another tracer. It reports whether the stop is of
// such a child.
func (s decider) Stray(stop ptrace.Stop) bool { return s.aside.Stray(stop) }

// Idle runs before the thread waits. It lets tasks go that were kept from a system call, and writes
// the spaces' epochs.
func (s decider) Idle() {
	s.aside.TakeLate()
	s.guard.Settle()
}

// Orphan takes ptracer's code out of a child that the kernel has told of and its parent has not,
// because the parent has died, and lets the child go.
func (s decider) Orphan(task int) { s.life.Orphan(task) }

// Exiting decides the stop of a task that is about to end.
func (s decider) Exiting(t *inferior.Task) error { return s.life.OnExiting(t) }

// Continue lets a task go on with a signal, 0 for none.
func (s decider) Continue(t *inferior.Task, signal ptrace.Signo) error {
	return s.guard.Continue(t, signal)
}

// Warn tells an event.Warning, of the process p or, with nil, of the session.
func (s decider) Warn(p *inferior.Process, format string, args ...any) {
	e := event.Event{Body: &event.Warning{Text: fmt.Sprintf(format, args...)}}
	if p != nil {
		e.PID = p.PID
	}
	s.Tell(&e, false)
}

// Failed tells that the session could not go on, and why.
func (s decider) Failed(why error) {
	s.Tell(&event.Event{Body: &event.Failed{Text: why.Error()}}, true)
}

// Closed runs when no request is taken any more. It keeps the counts for readers that come later.
func (s decider) Closed() { s.plant.KeepCounts() }

// End runs last on the session's thread. If the session fell (it failed, or its goroutine ended),
// Done is closed when the thread has gone: the kernel lets go of its tasks then.
func (s decider) End(fell bool) {
	if s.objects.Past == nil {
		_ = s.objects.Cache.Close() // with Past, symbols are still read: the files are closed by the garbage collector
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
