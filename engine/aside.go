package engine

import (
	"time"
)

// StepAside implements Session.
func (s *session) StepAside(pid int, wait time.Duration, opts ...AsideOptions) error {
	return s.loop.Do(func() error {
		if s.aside.WaitAgain(pid, wait) || wait <= 0 { // or it is back already
			return nil
		}
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		keep := false
		for _, o := range opts {
			keep = o.KeepJumps
		}
		return s.aside.Lend(p, wait, keep)
	})
}
