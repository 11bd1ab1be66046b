package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/failure"
)

// The errors about resident probes.
var (
	// ErrResident says that a process can't be attached because resident probes are in it.
	ErrResident = access.ErrResident
	// ErrNotResident says that no resident probes are in a process.
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
			err = ErrGone // the process has ended meanwhile
		}
		return err
	})
	<-s.done
	return err
}

// OpenResident returns the resident probes of a process, or of the process that has forked it. The
// error wraps ErrNotResident if there are none.
func OpenResident(pid int) (*resident.Resident, error) { return resident.Open(pid, hostISA(), Clean) }

// Residents returns all resident probes that the caller may read.
func Residents() ([]*resident.Resident, error) { return resident.All(hostISA(), Clean) }

// Clean takes out of a process what killed tracers have left there, and resident probes. found
// reports whether there was anything.
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
