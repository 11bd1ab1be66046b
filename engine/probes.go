package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Register implements Session.
func (s *session) Register(spec ProbeSpec) (event.ProbeID, error) {
	loc, err := symbols.ParseLocation(spec.Location)
	if err != nil {
		return 0, err
	}
	if spec.Action == Call && spec.Func == nil {
		return 0, errors.New("probe with Action Call has no Func")
	}
	if spec.Args > event.MaxArgs {
		return 0, fmt.Errorf("%d arguments asked for: an event carries up to %d", spec.Args, event.MaxArgs)
	}
	p := &probe.Probe{Spec: spec, Loc: loc}
	if err := s.checkHandler(p); err != nil {
		return 0, err
	}
	if err := s.lookAhead(p); err != nil {
		return 0, err
	}
	err = s.loop.Do(func() error {
		err := s.register(p)
		p.Ahead = nil
		return err
	})
	return p.ID, err
}

// lookAhead resolves a location outside the session's thread, so that symbols
// are read while nothing waits for us.
func (s *session) lookAhead(p *probe.Probe) error {
	var mods []*symbols.Module
	if err := s.loop.Do(func() error {
		for _, proc := range s.loop.Procs {
			for _, m := range proc.Modules {
				mods = append(mods, m)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, m := range mods {
		if !p.Loc.MatchesBinary(*m) || p.Loc.HasAddress {
			continue
		}
		if p.Asks() {
			m.File.Convention(symbols.Function{})
		}
		if p.Ahead[m.File] != nil {
			continue
		}
		found, _ := p.Loc.Resolve(m.File, s.isa)
		if len(found) == 0 {
			continue
		}
		if p.Ahead == nil {
			p.Ahead = map[*symbols.File][]symbols.Target{}
		}
		p.Ahead[m.File] = found
		if p.MayJump() && jump.Enabled && s.jump.NoJumps() == nil {
			m.File.Survey(s.isa)
			goruntime.List(m) // not first in a pause
		}
	}
	return nil
}

func (s *session) register(p *probe.Probe) error {
	var errs []error
	for _, proc := range s.loop.Procs {
		if !proc.Silent {
			s.life.HookLoader(proc)
			s.life.HookGoTracer(proc)
		}
		err := s.plant.Plant(p, proc, proc.Objects())
		s.plant.PlaceUnread(p, proc, proc.Unread)
		if err = errors.Join(err, s.plant.JumpAgain(proc)); err != nil { // of others' sites, too
			errs = append(errs, err)
		}
	}
	planted := 0
	var first error
	for _, pl := range p.Places {
		if pl.Err == nil {
			planted++
		} else if first == nil && !(p.Spec.Pending && errors.Is(pl.Err, objfile.ErrUnread)) {
			first = pl.Err
		}
	}
	switch {
	case planted > 0 || p.Spec.Pending && first == nil:
	case first != nil:
		return fmt.Errorf("%s: %w", p.Spec.Location, first)
	case len(errs) > 0:
		return errors.Join(errs...)
	}
	p.ID = event.ProbeID(len(s.plant.Probes) + 1)
	s.plant.Probes = append(s.plant.Probes, p)
	return nil
}

// Unregister implements Session.
func (s *session) Unregister(id event.ProbeID) error {
	_, err := s.Finish(id)
	return err
}

func (s *session) probe(id event.ProbeID) (*probe.Probe, error) {
	if id < 1 || int(id) > len(s.plant.Probes) {
		return nil, fmt.Errorf("%d: %w", id, ErrNoProbe)
	}
	return s.plant.Probes[id-1], nil
}

// look runs f where the session's fields may be read, also after its end.
func (s *session) look(f func()) {
	if errors.Is(s.loop.Do(func() error { f(); return nil }), ErrEnded) {
		<-s.done
		f()
	}
}

// Hits implements Session.
func (s *session) Hits(id event.ProbeID) (n uint64) {
	s.look(func() {
		if p, err := s.probe(id); err == nil && !p.Spec.Held { // which counts from Begin on
			for _, pl := range p.Places {
				if !pl.Second {
					n += pl.Count()
				}
			}
		}
	})
	return n
}

// Placements implements Session.
func (s *session) Placements(id event.ProbeID) (all []Placement) {
	_ = s.loop.Do(func() error { s.plant.LookForLost(); return nil })
	s.look(func() {
		for _, p := range s.plant.Probes {
			if id != 0 && p.ID != id {
				continue
			}
			all = slices.Grow(all, len(p.Places))
			for _, pl := range p.Places {
				if pl.Second && pl.Err == nil {
					continue
				}
				all = append(all, Placement{Probe: p.ID, PID: pl.Proc.PID, Name: pl.Name, Addr: pl.Addr,
					Rung: pl.Rung, Reason: pl.Why, Gap: pl.Gap, Err: pl.Err, Hits: pl.Count(), Space: pl.Space, Exit: pl.Exit != nil})
			}
		}
	})
	return all
}
