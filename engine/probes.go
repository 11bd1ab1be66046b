package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Register implements Session.
func (s *session) Register(spec ProbeSpec) (event.ProbeID, error) { return registerFor(s, nil, spec) }

// registerFor registers a probe for a client, nil: for none.
func registerFor(s *session, client any, spec ProbeSpec) (event.ProbeID, error) {
	loc, err := location.Parse(spec.Location)
	if err != nil {
		return 0, err
	}
	if spec.Action == ActionCall && spec.Func == nil {
		return 0, errors.New("a probe with ActionCall has no Func")
	}
	if len(spec.Args) > event.MaxArgs {
		return 0, fmt.Errorf("%d arguments asked for: an event carries up to %d", len(spec.Args), event.MaxArgs)
	}
	p := &probe.Probe{For: client, Spec: spec, Loc: loc}
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

// lookAhead resolves a location outside the session's thread: symbols are read while no task waits.
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
	plant.LookAhead(s.plant, s.jump, p, mods)
	return nil
}

// register plants a probe in all processes and gives it its id.
func (s *session) register(p *probe.Probe) error {
	var errs []error
	for _, proc := range s.loop.Procs {
		if !proc.Silent {
			s.life.HookLoader(proc)
			s.life.HookGoTracer(proc)
		}
		err := s.plant.Plant(p, proc, proc.Objects())
		s.plant.PlaceUnread(p, proc, proc.Unread)
		if err = errors.Join(err, s.plant.JumpAgain(proc)); err != nil { // makes jumps of sites of other probes, too
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

// probe returns the probe of an id.
func (s *session) probe(id event.ProbeID) (*probe.Probe, error) {
	if id < 1 || int(id) > len(s.plant.Probes) {
		return nil, fmt.Errorf("%d: %w", id, ErrNoProbe)
	}
	return s.plant.Probes[id-1], nil
}

// look runs f where the session's fields may be read: on the session's thread, or after its end.
func (s *session) look(f func()) {
	if errors.Is(s.loop.Do(func() error { f(); return nil }), ErrEnded) {
		<-s.done
		f()
	}
}

// Hits implements Session.
func (s *session) Hits(id event.ProbeID) (n uint64) {
	s.look(func() {
		if p, err := s.probe(id); err == nil && !p.Spec.Held { // a held probe counts from Begin on
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

// The window of a set of probes is the time over which they count. Probes are planted one after the
// other, which takes seconds where there are many. Begin and Finish make the numbers comparable:
// each cuts all of the probes at one moment, in a pause of all tasks that can come to them. In a
// pause no task stands in a trampoline (tasks.Set.WhileHalted): the handler of a hit has run, or
// has not begun. One placement that only counts needs no pause (plant.OnlyCounter).

// Begin implements Session.
func (s *session) Begin(ids ...event.ProbeID) (at int64, err error) {
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		begin := func(breakpoint.Pause) error {
			at = now()
			return plant.ForgetHits(list, at)
		}
		if plant.OnlyCounter(list) != nil {
			return begin(breakpoint.Pause{})
		}
		return s.loop.WhileHalted(begin, s.plant.SpacesOf(list)...)
	})
	return at, err
}

// Finish implements Session.
func (s *session) Finish(ids ...event.ProbeID) (at int64, err error) {
	var links []*kernel.Link
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		at, err = s.plant.Retire(slices.DeleteFunc(list, func(p *probe.Probe) bool { return p.Gone && len(p.Sites()) == 0 }))
		links = s.uprobe.Take()
		return err
	})
	return at, errors.Join(err, uprobe.Close(links))
}

// probesOf returns the probes of these ids.
func (s *session) probesOf(ids []event.ProbeID) (list []*probe.Probe, err error) {
	for _, id := range ids {
		p, err := s.probe(id)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// A long session gives back what probes and handlers no longer need: counters, memory that is
// mapped in the program, and the helpers' code there.

var errStillThere = errors.New("the probe has not been unregistered")

// Release implements Session.
func (s *session) Release(id event.ProbeID) error {
	return s.loop.Do(func() error {
		p, err := s.probe(id)
		if err != nil {
			return err
		}
		if !p.Gone {
			return fmt.Errorf("release %d: %w", id, errStillThere)
		}
		s.plant.Probes[id-1] = &probe.Probe{ID: id, Spec: ProbeSpec{Location: p.Spec.Location}, Loc: p.Loc, Gone: true}
		s.plant.ForgetClient(p.For)
		return nil
	})
}

// ErrHandler is wrapped by errors about a probe and a handler that do not go together.
var ErrHandler = errors.New("handler can't be put there")

// checkHandler returns an error if a probe's handler can't run where the probe is.
func (s *session) checkHandler(p *probe.Probe) error {
	if p.Spec.Handler == nil {
		return nil
	}
	h, own := p.Spec.Handler.(*inproc.Handler)
	if !own || h.Of != s.inproc {
		return fmt.Errorf("%s: %w: %s: it is another session's", p.Spec.Location, ErrHandler, p.Spec.Handler.Info().Name)
	}
	p.Handler = h
	refuse := func(why string) error {
		return fmt.Errorf("%s: %w: %s: %s", p.Spec.Location, ErrHandler, h.In.Name, why)
	}
	switch {
	case p.Spec.Action != ActionCount:
		return refuse("the probe has another action")
	case h.In.Exit != nil && (p.Loc.HasAddress || p.Loc.Offset != 0 || p.Loc.Every):
		return refuse("it runs where a function returns; name a function")
	case h.In.Entry != nil && p.Loc.Return:
		return refuse("it runs where a function is entered; leave %return away")
	}
	return nil
}
