package tasks

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// loop waits for stops and decides them until the last process has gone.
func (s *Set) loop() {
	for {
		s.takeEnds()
		s.d.Idle()
		stop, err := s.wait()
		if err != nil {
			// ECHILD can't be while the bell lives: it was killed.
			break
		}
		s.take(stop)
		s.everybody()
		if s.requests.asked.Load() {
			s.requests.obey()
		}
		if s.Ending {
			break
		}
	}
}

// The kernel tells of the task that was attached last first (do_wait_thread goes
// through the list that ptrace_link adds to in front). Tasks that stop again as
// soon as they go on would have the others wait for ever, and the bell, which
// was there first. So after some stops each task is asked for by itself; and
// whether there are requests is looked at after each stop.
const turnStops = 64

// everybody asks for the stops of tasks that may have been passed over, now and
// then.
func (s *Set) everybody() {
	if s.turn++; s.turn < max(turnStops, 4*len(s.Tasks)) {
		return
	}
	s.turn = 0
	if len(s.Tasks) < 2 {
		return
	}
	for _, t := range s.Tasks {
		if t.State != inferior.Running {
			continue
		}
		if stop, ok, err := ptrace.Wait(t.TID, false); ok && err == nil {
			s.take(stop)
		}
	}
}

// wait blocks until there is a stop. In a storm the next one is mostly there
// already, the tracee having run in the thread's place: then the Go scheduler need not
// know, which otherwise gives the processor to another thread at each hit.
func (s *Set) wait() (ptrace.Stop, error) {
	if s.Follower.on {
		if stop, ok, err := ptrace.Wait(-1, false); ok || err != nil {
			return stop, err
		}
	}
	stop, _, err := ptrace.Wait(-1, true)
	return stop, err
}

// take decides one answer of wait.
func (s *Set) take(stop ptrace.Stop) {
	if stop.Task == s.bell.Task() {
		if stop.Kind == ptrace.Signal || stop.Kind == ptrace.Group || stop.Kind == ptrace.Trap {
			_ = ptrace.Cont(stop.Task, 0)
		}
		s.requests.obey()
		return
	}
	s.Stops.Add(1)
	t := s.Tasks[stop.Task]
	if t == nil && (s.loose.let(stop) || s.d.Stray(stop)) {
		return
	}
	if p := s.Procs[stop.Task]; t == nil && p != nil && stop.Kind == ptrace.Exec {
		t = s.Add(p, stop.Task, false) // a thread has taken the place of the first, which had ended before the attach
	}
	if t == nil {
		// A child's first stop may come before its parent's event.
		if stop.Kind == ptrace.Exit || ptrace.Take(stop.Task).Kind == ptrace.Exit {
			_ = ptrace.Cont(stop.Task, 0) // a parent that was killed tells nothing: its end is all there is to know
			return
		}
		s.keepEarly(stop)
		return
	}
	t.Begin(stop)
	s.deciding = append(s.deciding, t)
	if err := s.d.Decide(t, stop); err != nil && !ptrace.IsGone(err) {
		s.d.Warn(t.Process, "task %d: %v", t.TID, err)
	}
	s.deciding = s.deciding[:len(s.deciding)-1]
	s.keep(t)
}

// keep has a task that stays stopped not be told again. From then on the signal
// that it stands at is lost if the tracer dies: the kernel must know already where the
// task is to go on, which is not behind the trap.
func (s *Set) keep(t *inferior.Task) {
	if t.State == inferior.Stopped {
		_ = t.Flush() // it may have been killed
		if stop := t.Take(); stop.Kind == ptrace.Exit {
			s.take(stop)
		}
	}
}

// Resume lets a stopped task go on, unless something holds it.
func (s *Set) Resume(t *inferior.Task, signal ptrace.Signo) error {
	if t.Held() {
		if !t.Asked {
			t.HeldSig = signal
			return nil
		}
		// Any stop clears a pending interrupt (ptrace_stop, kernel/signal.c).
		if err := ptrace.Interrupt(t.TID); err != nil {
			return err
		}
	}
	return s.LetGo(t, signal)
}

// LetGo lets a stopped task go on to its next stop, also one that is held.
func (s *Set) LetGo(t *inferior.Task, signal ptrace.Signo) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if !t.Asked {
		t.Settled = false
	}
	if t.Stop.Kind == ptrace.Group && !t.Asked {
		t.State = inferior.Listening
		return ptrace.Listen(t.TID)
	}
	t.State = inferior.Running
	return s.d.Continue(t, signal)
}

// ResumeStopped lets a task go on that a halt may have let go meanwhile.
func (s *Set) ResumeStopped(t *inferior.Task) error {
	if t.State != inferior.Stopped {
		return nil
	}
	return s.Resume(t, 0)
}
