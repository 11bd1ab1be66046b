package tasks

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Halt stops t where anything may be done to it: in an event stop on its way to
// user mode. It stays there until Unhalt.
func (s *Set) Halt(t *inferior.Task) error {
	t.Hold++
	if err := s.ToEventStop(t); err != nil {
		t.Hold--
		return err
	}
	return nil
}

// ToEventStop is Halt without holding the task.
func (s *Set) ToEventStop(t *inferior.Task) error {
	if t.AtEvent() {
		return nil
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	s.Follower.leave(false) // leave SCHED_IDLE first: other tasks must not wait for it
	t.Asked = true
	if err := ptrace.Interrupt(t.TID); err != nil {
		return err
	}
	if t.State == inferior.Stopped {
		signal := t.HeldSig
		t.HeldSig = 0
		if err := s.LetGo(t, signal); err != nil {
			return err
		}
	}
	if err := s.Await([]*inferior.Task{t}, func() bool { return t.State == inferior.Gone || t.AtEvent() }); err != nil {
		return err
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	return nil
}

// Unhalt ends a halt; the task goes on if nothing else holds it.
func (s *Set) Unhalt(t *inferior.Task) error {
	t.Hold = max(t.Hold-1, 0)
	if t.State != inferior.Stopped || t.Held() {
		return nil
	}
	signal := t.HeldSig
	t.HeldSig = 0
	return s.LetGo(t, signal)
}

// HaltAll stops all tasks of ps, those too that are made meanwhile; the pause says how many
// do not stop in time. It lasts until they are let go: each task is held once more.
func (s *Set) HaltAll(ps []*inferior.Process) breakpoint.Pause {
	s.Follower.leave(false) // leave SCHED_IDLE first: other tasks must not wait for it
	s.Order.look(ps)
	var waiting []*inferior.Task
	for _, p := range ps {
		for _, t := range s.Order.toHalt(p) {
			t.Hold++
			if !t.AtEvent() {
				s.Ask(t)
				waiting = append(waiting, t)
			}
		}
		p.Hold++
	}
	stands := func() bool {
		for len(waiting) > 0 {
			t := waiting[len(waiting)-1]
			if t.State != inferior.Gone && !t.AtEvent() {
				return false
			}
			if waiting = waiting[:len(waiting)-1]; len(waiting) == 0 {
				waiting = Moving(ps)
			}
		}
		return true
	}
	s.gather(waiting)
	_ = s.Await(waiting, stands)
	for _, p := range ps {
		p.Hold--
	}
	return breakpoint.NewPause(len(Moving(ps)))
}

// UnhaltAll ends HaltAll for one process.
func (s *Set) UnhaltAll(p *inferior.Process) {
	for _, t := range s.Order.ToLetGo(p) {
		if err := s.Unhalt(t); err != nil && !ptrace.IsGone(err) {
			s.d.Warn(p, "task %d: %v", t.TID, err)
		}
	}
}

// gather takes the stops that are there of many tasks, each by its number: to be told of
// any of them, the kernel looks through all.
func (s *Set) gather(ts []*inferior.Task) {
	for _, t := range s.deciding {
		s.keep(t)
	}
	s.pumping++
	defer func() { s.pumping-- }()
	for took := true; took; {
		took = false
		s.takeEnds()
		for _, t := range ts {
			if t.State != inferior.Running {
				continue
			}
			if stop, ok, err := ptrace.Wait(t.TID, false); ok && err == nil {
				s.take(stop)
				took = true
			}
		}
	}
}

// Ask interrupts a task that is not in an event stop.
func (s *Set) Ask(t *inferior.Task) {
	t.Asked = true
	if t.Fresh { // its first stop is on its way
		return
	}
	_ = ptrace.Interrupt(t.TID)
	if t.State == inferior.Stopped {
		signal := t.HeldSig
		t.HeldSig = 0
		_ = s.LetGo(t, signal)
	}
}

// Moving are the tasks of ps that are not in an event stop.
func Moving(ps []*inferior.Process) (ts []*inferior.Task) {
	for _, p := range ps {
		for _, t := range p.Tasks {
			if t.State != inferior.Gone && !t.AtEvent() {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// WhileHalted runs f while all tasks of some spaces that can be are halted, and none
// of these stands behind a jump. In such a pause of the same spaces it runs f at once.
func (s *Set) WhileHalted(f func(breakpoint.Pause) error, spaces ...*inferior.Space) error {
	if len(s.standing) > 0 && !slices.ContainsFunc(spaces, func(space *inferior.Space) bool { return !slices.Contains(s.standing, space) }) {
		return f(breakpoint.NewPause(len(Moving(s.Sharing(spaces...)))))
	}
	if err := s.Pump(func() bool { return !vforks(s.Sharing(spaces...)) }); err != nil && !errors.Is(err, ErrBusy) {
		return err
	}
	ps := s.Sharing(spaces...)
	pause := s.HaltAll(ps)
	start := s.Order.began
	outer := s.standing
	s.standing = spaces
	err := f(pause)
	s.standing = outer
	var errs []error
	for _, p := range ps {
		for _, t := range s.Order.ToLetGo(p) {
			if e := s.Unhalt(t); e != nil && !ptrace.IsGone(e) {
				errs = append(errs, e)
			}
		}
	}
	s.Paused(ptrace.Now() - start)
	return errors.Join(append(errs, err)...)
}

// vforks reports whether one of the processes waits for another, which runs in its memory
// until it executes something: held, that would have it wait for ever.
func vforks(ps []*inferior.Process) bool {
	for _, p := range ps {
		for _, t := range p.Tasks {
			if t.VForks && t.State != inferior.Stopped {
				return true
			}
		}
	}
	return false
}
