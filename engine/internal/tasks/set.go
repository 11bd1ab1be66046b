package tasks

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Decider is the session: what stops lead to. All is called on the session's thread.
type Decider interface {
	// Decide decides the stop of a task of the set.
	Decide(t *inferior.Task, stop ptrace.Stop) error
	// Stray reports whether a stop is of a process that the session knows, and that is not in
	// the set: one that is lent to another tracer. It has decided it then.
	Stray(stop ptrace.Stop) bool
	// Orphan is a process that is traced since its parent made it, where the parent was killed
	// before it told of that.
	Orphan(pid int)
	// Exiting is a task that is about to end: it can't be held.
	Exiting(t *inferior.Task) error
	// Continue lets a task that stands run on, with a signal if that is not 0.
	Continue(t *inferior.Task, signal ptrace.Signo) error
	// Idle is called before the thread waits for stops.
	Idle()
	// Warn tells of what goes wrong.
	Warn(p *inferior.Process, format string, args ...any)
	// Failed tells why the session ends before its time. Requests have no answer yet.
	Failed(why error)
	// Closed is called behind the last request.
	Closed()
	// End is the last thing that the thread does; failed reports whether it ends before its
	// time. Its tasks are free once the thread has ended.
	End(failed bool)
}

// ErrNotStopped is returned for a task that runs.
var ErrNotStopped = errors.New("task is not stopped")

// Set is a session's thread, and the tasks and processes that it traces.
type Set struct {
	Tasks map[int]*inferior.Task
	Procs map[int]*inferior.Process
	// Ending: the thread is to end behind the present stop.
	Ending bool
	// Hurry is for tests: how much sooner a wait is too long; 0: not at all.
	Hurry int
	// Stops counts what the kernel has told.
	Stops    atomic.Uint64
	Follower Follower
	Order    Order

	d    Decider
	bell *ptrace.Bell

	requests requests

	early    map[int]early
	loose    loose
	looking  bool             // for orphans among these, later
	ends     []ptrace.Stop    // of tasks, seen by stopOf
	deciding []*inferior.Task // whose stops are being decided, nested
	turn     int              // stops since everybody was asked
	pumping  int              // requests that take others' stops
	standing []*inferior.Space
	pause    atomic.Int64
	placed   chan struct{} // closed when Run has found its thread
}

// New makes a set without tasks; its thread is where Run is called.
func New(d Decider) *Set {
	return &Set{Tasks: map[int]*inferior.Task{}, Procs: map[int]*inferior.Process{}, d: d,
		early: map[int]early{}, loose: loose{}, placed: make(chan struct{})}
}

// Warn tells of what goes wrong.
func (s *Set) Warn(p *inferior.Process, format string, args ...any) { s.d.Warn(p, format, args...) }

// Add makes a task known. A fresh one has not had its first stop.
func (s *Set) Add(p *inferior.Process, tid int, fresh bool) *inferior.Task {
	t := &inferior.Task{TID: tid, Process: p, Fresh: fresh, Hold: p.Hold}
	s.Tasks[tid], p.Tasks[tid] = t, t
	return t
}

// AddProcess makes a process known, without tasks.
func (s *Set) AddProcess(pid int, name string, space *inferior.Space, follow bool) *inferior.Process {
	p := &inferior.Process{PID: pid, Tasks: map[int]*inferior.Task{}, Space: space,
		Modules: map[string]*symbols.Module{}, Name: name, Follow: follow}
	space.Users++
	s.Procs[pid] = p
	return p
}

// Forget forgets a task that has ended.
func (s *Set) Forget(t *inferior.Task) {
	t.State = inferior.Gone
	delete(t.Process.Tasks, t.TID)
	delete(s.Tasks, t.TID)
}

// Task finds a task that clients may see.
func (s *Set) Task(tid int) (*inferior.Task, error) {
	t := s.Tasks[tid]
	if t == nil || t.Process.Silent {
		return nil, fmt.Errorf("task %d: %w", tid, ptrace.ErrGone)
	}
	return t, nil
}

// Stopped is Task for one that stands.
func (s *Set) Stopped(tid int) (*inferior.Task, error) {
	t, err := s.Task(tid)
	if err != nil {
		return nil, err
	}
	if t.State != inferior.Stopped {
		return nil, fmt.Errorf("task %d: %w", tid, ErrNotStopped)
	}
	return t, nil
}

// Sharing are the processes of some spaces, in the order of their PIDs.
func (s *Set) Sharing(spaces ...*inferior.Space) (ps []*inferior.Process) {
	for _, p := range s.Procs {
		if slices.Contains(spaces, p.Space) {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b *inferior.Process) int { return a.PID - b.PID })
	return ps
}

// Decide decides a stop that came while a request waited for something else of its task.
func (s *Set) Decide(t *inferior.Task, stop ptrace.Stop) error { return s.d.Decide(t, stop) }

// Pumping reports whether a request is in progress that takes others' stops.
func (s *Set) Pumping() bool { return s.pumping > 0 }

// Paused notes that tasks have stood for some time, ns.
func (s *Set) Paused(ns int64) {
	if ns > s.pause.Load() {
		s.pause.Store(ns)
	}
}

// Pause is the longest time that tasks have stood for the engine.
func (s *Set) Pause() time.Duration { return time.Duration(s.pause.Load()) }

// ErrEnded is returned for a request behind the session's end.
var ErrEnded = event.ErrEnded
