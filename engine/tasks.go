package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/procfs"
)

// Interrupt implements Session.
func (s *session) Interrupt(pid int) error {
	return s.loop.Do(func() error {
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		for _, t := range p.Tasks {
			t.User = true
		}
		stuck := s.loop.HaltAll([]*inferior.Process{p}).Stuck()
		for _, t := range p.Tasks {
			t.Hold, t.User = max(t.Hold-1, 0), true // of tasks that were made meanwhile, too
			if t.AtEvent() {
				s.Tell(s.stoppedEvent(t), true)
			}
		}
		if stuck > 0 {
			return fmt.Errorf("interrupt %d: %d of its tasks: %w", pid, stuck, tasks.ErrBusy)
		}
		return nil
	})
}

// InterruptTask implements Session.
func (s *session) InterruptTask(tid int) error {
	return s.loop.Do(func() error {
		t, err := s.loop.Task(tid)
		if err != nil {
			return err
		}
		if err := s.loop.Halt(t); err != nil {
			return fmt.Errorf("interrupt task %d: %w", tid, err)
		}
		t.Hold, t.User = max(t.Hold-1, 0), true
		s.Tell(s.stoppedEvent(t), true)
		return nil
	})
}

// stoppedEvent returns the event about a task that a request has stopped.
func (s *session) stoppedEvent(t *inferior.Task) *event.Event {
	b := &event.Stopped{Signal: int(t.HeldSig)}
	if r, err := s.xol.View(t); err == nil {
		b.Addr = arch.Addr(r[s.isa.PCReg()])
	}
	return &event.Event{PID: t.Process.PID, TID: t.TID, Body: b}
}

// Resume implements Session.
func (s *session) Resume(id int) error {
	return s.loop.Do(func() error {
		if p := s.loop.Procs[id]; p != nil && !p.Silent {
			var errs []error
			for _, t := range p.Tasks {
				errs = append(errs, s.resumeUser(t))
			}
			return errors.Join(append(errs, s.plant.JumpAgain(p))...)
		}
		return s.resumeTask(id)
	})
}

// ResumeTask implements Session.
func (s *session) ResumeTask(tid int) error {
	return s.loop.Do(func() error { return s.resumeTask(tid) })
}

// resumeTask lets a task go on. A task that an interrupt has not stopped yet, because it waits
// uninterruptibly, will not stop for it any more.
func (s *session) resumeTask(tid int) error {
	t, err := s.loop.Task(tid)
	if err != nil {
		return err
	}
	if t.State != inferior.Stopped && !t.User {
		return fmt.Errorf("task %d: %w", tid, ErrNotStopped)
	}
	if err := s.resumeUser(t); err != nil {
		return err
	}
	return s.plant.JumpAgain(t.Process)
}

// resumeUser ends the stop that a tracer has asked for. The task goes on unless something else
// holds it.
func (s *session) resumeUser(t *inferior.Task) error {
	if !t.User {
		return nil
	}
	t.User = false
	if t.Held() || t.State != inferior.Stopped {
		return nil
	}
	signal := t.HeldSig
	t.HeldSig = 0
	if err := s.loop.LetGo(t, signal); err != nil && !ptrace.IsGone(err) {
		return err
	}
	return nil
}

// Tasks implements Session.
func (s *session) Tasks(pid int) (tasks []Task, err error) {
	err = s.loop.Do(func() error {
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		for _, t := range p.Tasks {
			d := Task{TID: t.TID, Name: procfs.Comm(t.TID), Stopped: t.State == inferior.Stopped}
			if d.Stopped {
				d.Signal = int(t.HeldSig)
				if r, err := s.xol.View(t); err == nil {
					d.PC = arch.Addr(r[s.isa.PCReg()])
				}
			}
			tasks = append(tasks, d)
		}
		slices.SortFunc(tasks, func(a, b Task) int { return a.TID - b.TID })
		return nil
	})
	return tasks, err
}

// Registers implements Session.
func (s *session) Registers(tid int) (r arch.Regs, err error) {
	err = s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err == nil {
			r, err = s.xol.View(t)
		}
		return err
	})
	return r, err
}

// SetRegisters implements Session.
func (s *session) SetRegisters(tid int, regs arch.Regs) error {
	return s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		return s.xol.SetView(t, regs)
	})
}

// ReadMemory implements Session.
func (s *session) ReadMemory(pid int, addr arch.Addr, buf []byte) error {
	return s.loop.Do(func() error {
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		return p.Space.Table.ReadOriginal(addr, buf)
	})
}

// WriteMemory implements Session.
func (s *session) WriteMemory(pid int, addr arch.Addr, data []byte) error {
	return s.loop.Do(func() error {
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		if err := s.jump.MakeRoom(p, []arch.Addr{addr}, len(data)); err != nil {
			return err
		}
		return p.Space.Table.WriteOriginal(addr, data)
	})
}

// Step implements Session.
func (s *session) Step(tid int) error {
	return s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err == nil && !t.User {
			err = ErrNotStopped
		}
		if err == nil {
			err = s.plant.Step(t)
		}
		if err != nil {
			return fmt.Errorf("step task %d: %w", tid, err)
		}
		s.Tell(s.stoppedEvent(t), true)
		return nil
	})
}

// Signals that tracers send, and pending ones that tracers take away.

var (
	errSignal   = errors.New("not a signal's number")
	errNoSignal = errors.New("it is not about to get a signal")
)

// lastSignal is SIGRTMAX, the highest signal number.
const lastSignal = 64

// Signal implements Session.
func (s *session) Signal(id, signal int) error {
	if signal < 1 || signal > lastSignal {
		return fmt.Errorf("signal %d: %w", signal, errSignal)
	}
	return s.loop.Do(func() error {
		if p, err := s.process(id); err == nil {
			return ptrace.SendAll(p.PID, ptrace.Signo(signal))
		}
		t, err := s.loop.Task(id)
		if err != nil {
			return err
		}
		return ptrace.Send(t.Process.PID, t.TID, ptrace.Signo(signal))
	})
}

// DropSignal implements Session.
func (s *session) DropSignal(tid int) error {
	return s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		if !t.User || t.HeldSig == 0 {
			return fmt.Errorf("task %d: %w", tid, errNoSignal)
		}
		t.HeldSig = 0
		return nil
	})
}
