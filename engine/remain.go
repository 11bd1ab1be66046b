package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/failure"
)

// Errors about resident probes.
var (
	// ErrResident is of a process that can't be attached to because there are
	// resident probes in it.
	ErrResident = access.ErrResident
	// ErrNotResident is of a process in which there are none.
	ErrNotResident = resident.ErrNone
)

// Leave implements Session.
func (s *session) Leave() error {
	if !s.opts.Resident {
		err := &failure.Unsupported{What: "to leave probes in a process", Needs: "Options.Resident"}
		return errors.Join(err, s.Detach())
	}
	err := s.loop.Do(func() error {
		err := s.resident.LeaveAll()
		if s.loop.Ending = true; err == nil && !s.resident.Left {
			err = ErrGone // it has ended meanwhile
		}
		return err
	})
	<-s.done
	return err
}

// OpenResident finds what was left in a process, or in that which has forked it.
// The error wraps ErrNotResident where there is nothing.
func OpenResident(pid int) (*resident.Resident, error) { return resident.Open(pid, hostISA(), Clean) }

// Residents are all that the caller may read.
func Residents() ([]*resident.Resident, error) { return resident.All(hostISA(), Clean) }

// Clean takes out of a process what tracers have left there that were killed,
// and resident probes, if any is found.
func Clean(pid int) (found bool, err error) {
	if err := refuse(pid); err != nil {
		return false, err
	}
	s, err := newSession(nil)
	if err != nil {
		return false, err
	}
	s.clean.Collect = true
	err = s.AddProcess(pid)
	err = errors.Join(err, s.Detach())
	return s.clean.Cleaned, err
}
