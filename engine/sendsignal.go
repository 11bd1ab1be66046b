package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Signals that tracers send, and those that they take away.

var (
	errSignal   = errors.New("not a signal's number")
	errNoSignal = errors.New("it is not about to get a signal")
)

// lastSignal is SIGRTMAX.
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
