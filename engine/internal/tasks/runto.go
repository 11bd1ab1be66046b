package tasks

import (
	"errors"
	"time"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Why a task has not come to where it was to stop.
var (
	ErrJobStop  = errors.New("it is stopped by job control: send SIGCONT first")
	ErrWaiting  = errors.New("it waits in a system call, or is in a signal's handler: it has been stopped there")
	errStepMany = errors.New("it does not come to an end")
)

// stepPatience is how long an instruction may take that is no system call that
// waits. Other tasks' stops are decided meanwhile.
const stepPatience = 200 * time.Millisecond

// maxStepStops bounds the stops that come before the end of an instruction.
const maxStepStops = 100

// RunTo lets a stopped task run until it stands and done says so, or it is about
// to get a signal. It stays stopped.
func (s *Set) RunTo(t *inferior.Task, done func() bool) error {
	for range maxStepStops {
		if t.Stop.Kind == ptrace.Group {
			return ErrJobStop
		}
		signal := t.HeldSig
		t.HeldSig = 0
		if err := s.LetGoHeld(t, signal); err != nil {
			return err
		}
		err := s.PumpFor(stepPatience, func() bool { return t.State == inferior.Stopped || t.State == inferior.Gone })
		if errors.Is(err, ErrBusy) {
			if err := s.Halt(t); err != nil {
				return errors.Join(ErrWaiting, err)
			}
			return errors.Join(ErrWaiting, s.Unhalt(t))
		}
		switch {
		case err != nil:
			return err
		case t.State == inferior.Gone:
			return ptrace.ErrGone
		case done(), t.HeldSig != 0:
			return nil
		}
	}
	return errStepMany
}

// LetGoHeld lets a task go that stays held: it stops again at its next stop.
func (s *Set) LetGoHeld(t *inferior.Task, signal ptrace.Signo) error {
	t.Asked = false
	return s.LetGo(t, signal)
}
