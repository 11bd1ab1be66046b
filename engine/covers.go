package engine

import "github.com/ptracer/ptracer/engine/internal/resident"

// Which processes a probe is for.

// Follow implements Session.
func (s *session) Follow(pid int, on bool) error {
	return s.loop.Do(func() error {
		p, err := s.process(pid)
		switch {
		case err != nil:
			return err
		case on && s.opts.Resident:
			return resident.ErrOneProcess
		}
		p.Follow = on
		return nil
	})
}
