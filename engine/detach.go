package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Detach implements Session.
func (s *session) Detach() error {
	err := s.loop.Do(func() error {
		var errs []error
		for len(s.loop.Procs) > 0 {
			for _, p := range s.loop.Procs {
				errs = append(errs, s.life.Release(p))
				break
			}
		}
		errs = append(errs, s.aside.EndLoans())
		s.loop.Ending = true
		return errors.Join(errs...)
	})
	if errors.Is(err, ErrEnded) {
		err = nil
	}
	<-s.done
	return err
}

// RemoveProcess implements Session.
func (s *session) RemoveProcess(pid int) error {
	return s.loop.Do(func() error {
		if s.life.Lent[pid] {
			return s.aside.EndLoan(pid)
		}
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		return s.life.Release(p)
	})
}

// Kill implements Session.
func (s *session) Kill() error {
	_ = s.loop.Do(func() error {
		for pid := range s.life.Started {
			if s.loop.Procs[pid] != nil {
				_ = ptrace.Kill(pid)
			}
		}
		return nil
	})
	return s.Detach()
}
