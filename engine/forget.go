package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// A session that lasts gives back what probes and handlers have had that nobody
// asks for any more: counters, memory that is mapped in the program, and the
// helpers' code there.

var errStillThere = errors.New("the probe has not been unregistered")

// Forget implements Session.
func (s *session) Forget(id event.ProbeID) error {
	return s.loop.Do(func() error {
		p, err := s.probe(id)
		if err != nil {
			return err
		}
		if !p.Gone {
			return fmt.Errorf("forget %d: %w", id, errStillThere)
		}
		s.plant.Probes[id-1] = &probe.Probe{ID: id, Spec: ProbeSpec{Location: p.Spec.Location}, Loc: p.Loc, Gone: true}
		s.plant.ForgetWho(p.Spec.By)
		return nil
	})
}
