package tasks

import (
	"errors"
	"time"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Next waits for the stop of a task that goes on only for a moment: a step, or
// a system call that it makes for the tracer. Others' stops wait meanwhile.
func (s *Set) Next(t *inferior.Task) (ptrace.Stop, error) {
	for {
		stop, err := s.stopOf(t)
		if err != nil {
			return stop, err
		}
		s.Stops.Add(1)
		t.Begin(stop)
		if stop.Kind != ptrace.Exit {
			return stop, nil
		}
		if err := s.d.Exiting(t); err != nil {
			return stop, err
		}
	}
}

// stopOf waits for one task. The end of a process's first task is told when no
// end of another is left to be told: these are looked for, too, if it takes long.
// A session whose task does not come back has failed.
func (s *Set) stopOf(t *inferior.Task) (ptrace.Stop, error) {
	const soon, often, seldom = 100, 50 * time.Microsecond, time.Millisecond
	w := watchdog{s: s, t: t}
	for n := 0; ; n++ {
		stop, ok, err := ptrace.Wait(t.TID, false)
		switch {
		case ok || err != nil:
			return stop, err
		case n < soon:
			ptrace.Yield()
			continue
		}
		if t.TID == t.Process.PID && len(t.Process.Tasks) > 1 {
			s.seeEnds(t)
		}
		w.look()
		time.Sleep(min(often*time.Duration(1+(n-soon)/soon), seldom))
	}
}

// seeEnds notes which tasks have ended, of the process whose first task t is.
func (s *Set) seeEnds(t *inferior.Task) {
	ids, _ := procfs.Tasks(t.TID) // also those that have not been told of yet
	for _, id := range ids {
		if id == t.TID {
			continue
		}
		if stop, ended := ptrace.Ended(id); ended {
			s.ends = append(s.ends, stop) // to decide it now might take t's stop
		}
	}
}

// takeEnds decides the ends of tasks that stopOf has seen.
func (s *Set) takeEnds() {
	for len(s.ends) > 0 {
		stop := s.ends[0]
		s.ends = s.ends[1:]
		if s.Tasks[stop.Task] != nil {
			s.take(stop)
		}
	}
}

// Pump takes stops, of any task, until done says so. It is how a request on
// the session's thread waits for a task without losing others' stops. It gives
// up after patience.
func (s *Set) Pump(done func() bool) error { return s.PumpFor(patience, done) }

// PumpFor is Pump that gives up after a time.
func (s *Set) PumpFor(d time.Duration, done func() bool) error {
	alarm := time.AfterFunc(d, s.bell.Ring)
	defer alarm.Stop()
	deadline := time.Now().Add(d)
	for _, t := range s.deciding {
		s.keep(t)
	}
	s.pumping++
	defer func() { s.pumping-- }()
	for s.takeEnds(); !done(); s.takeEnds() {
		stop, _, err := ptrace.Wait(-1, true)
		if err != nil {
			return err
		}
		if stop.Task == s.bell.Task() {
			_ = ptrace.Cont(stop.Task, 0) // requests wait until the present one is through
		} else {
			s.take(stop)
			s.everybody()
		}
		if time.Now().After(deadline) && !done() {
			return ErrBusy
		}
	}
	return nil
}

// Await pumps until tasks that were asked to stop stand. On a machine so busy
// that they do not even run it is more patient than with tasks that can't stop.
func (s *Set) Await(tasks []*inferior.Task, done func() bool) error {
	err := s.PumpFor(impatience, done)
	if !errors.Is(err, ErrBusy) || allWaitForChild(tasks) {
		return err
	}
	for range 5 {
		if err := s.Pump(done); !errors.Is(err, ErrBusy) {
			return err
		}
		for _, t := range tasks {
			if t.State != inferior.Gone && !t.AtEvent() && procfs.State(t.TID) == 'D' {
				return ErrBusy
			}
		}
	}
	return ErrBusy
}

// allWaitForChild reports whether all of the tasks that do not stand yet wait for a
// child that uses their memory (vfork). They stop when it has left that, which may be
// never: meanwhile the others, which are halted, would wait for nothing.
func allWaitForChild(tasks []*inferior.Task) bool {
	for _, t := range tasks {
		if t.State != inferior.Gone && !t.AtEvent() && !ptrace.WaitsForChild(t.TID) {
			return false
		}
	}
	return true
}

// impatience is when await looks whether tasks can't stop.
const impatience = 10 * time.Millisecond

// patience is how long a task may take to answer PTRACE_INTERRUPT: one in an
// uninterruptible wait, a vfork's parent above all, answers when that ends.
const patience = 2 * time.Second

// ErrBusy is returned where a task does not stop.
var ErrBusy = errors.New("task does not stop: it is in an uninterruptible wait")

// LetRun takes stops for some time.
func (s *Set) LetRun(d time.Duration) error {
	end := time.Now().Add(d)
	alarm := time.AfterFunc(d, s.bell.Ring)
	defer alarm.Stop()
	return s.Pump(func() bool { return !time.Now().Before(end) })
}
