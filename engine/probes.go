package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
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
			s.hookLoader(proc)
			s.hookGoTracer(proc)
		}
		err := s.plant(p, proc, proc.Objects())
		if err = errors.Join(err, s.jumpAgain(proc)); err != nil { // of others' sites, too
			errs = append(errs, err)
		}
	}
	planted := 0
	var first error
	for _, pl := range p.Places {
		if pl.Err == nil {
			planted++
		} else if first == nil {
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
	p.ID = event.ProbeID(len(s.probes) + 1)
	s.probes = append(s.probes, p)
	return nil
}

// plant puts p into the given objects of a process.
func (s *session) plant(p *probe.Probe, proc *inferior.Process, mods []*symbols.Module) error {
	if p.Gone || proc.Silent || !s.covers(p, proc) {
		return nil
	}
	spots, err := s.spots(p, mods)
	if len(spots) == 0 {
		return err
	}
	p.Found = true
	if spots = s.implemented(p, proc, spots); len(spots) == 0 || s.loop.Procs[proc.PID] != proc {
		return nil
	}
	return s.plantSpots(p, proc, spots)
}

// plantSpots puts p where it is to be, by what serves it.
func (s *session) plantSpots(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if spots = s.able(p, proc, spots); len(spots) == 0 {
		return nil
	}
	if h := p.Handler; h != nil && h.Kernel != nil {
		return s.uprobe.Plant(p, proc, spots, s.place)
	}
	if p.Spec.Rung == breakpoint.Hardware {
		return s.plantWatch(p, proc, spots)
	}
	return s.plantSites(p, proc, spots)
}

// plantSites arms the sites of all spots, with one pause of one task at most.
func (s *session) plantSites(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if err := s.guardSpace(proc, spots[0].Addr, len(spots)); err != nil {
		err = fmt.Errorf("probe %s in %d: %w", p.Spec.Location, proc.PID, err)
		if !ptrace.IsGone(err) {
			for _, sp := range spots { // it has been found: that is to be known of it
				s.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
			}
		}
		return err
	}
	wants := make([]breakpoint.Want, len(spots))
	quiet := s.jump.Quiet(p)
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig, Rung: p.Spec.Rung, Quiet: quiet}
	}
	sites, errs := s.insert(proc, wants)
	for i, sp := range spots {
		pl := sp.Placement(p, proc)
		pl.Err = errs[i]
		if errs[i] != nil && p.DebugServes(errs[i]) {
			if pl.Err = s.watchInstead(p, proc, sp, errs[i]); pl.Err == nil {
				continue
			}
		}
		if site := sites[i]; site != nil {
			pl.Site, pl.Rung = site, site.Rung
			if pl.Why == "" {
				pl.Why = site.Reason
			}
		}
		s.place(pl)
	}
	err := s.openGates(proc, sites)
	return errors.Join(err, s.upgradePlaced(p, proc, sites)) // of the others
}

func (s *session) place(pl *probe.Placement) {
	space := pl.Proc.Space
	if space.ID == 0 {
		s.spaces++
		space.ID = s.spaces
	}
	pl.Space = space.ID
	if pl.Site != nil {
		probe.Of(pl.Site).Add(pl)
	}
	pl.Probe.Places = append(pl.Probe.Places, pl)
}

// guardSpace makes sure that all processes of a space survive our death before
// its first trap is planted: a parent, too, that waits for its vfork child and
// can be halted only when that is over.
func (s *session) guardSpace(proc *inferior.Process, near arch.Addr, n int) error {
	fresh := false
	for _, p := range s.loop.Sharing(proc.Space) {
		if p.Guarded {
			continue
		}
		fresh = true
		err := s.remote.WithTask([]*inferior.Process{p}, func(t *inferior.Task) error { return s.guard.Prepare(t, near, n) })
		if err != nil && (p == proc || !ptrace.IsGone(err)) {
			return err
		}
	}
	if !fresh {
		return nil
	}
	if err := s.learnDispatch(proc); err != nil {
		return err
	}
	return s.onGuard(proc)
}

// Unregister implements Session.
func (s *session) Unregister(id event.ProbeID) error {
	_, err := s.Finish(id)
	return err
}

// manyRetired is how many slots of removed sites may wait to be used again.
const manyRetired = 4096

// sweep frees the slots of removed sites, while no task is in one.
func (s *session) sweep(space *inferior.Space) error {
	return s.loop.WhileHalted(func(pause breakpoint.Pause) error {
		var errs []error
		for _, p := range s.loop.Sharing(space) {
			for _, t := range p.Tasks {
				if t.AtEvent() {
					errs = append(errs, s.xol.LeaveSlot(t, true))
				}
			}
		}
		err := errors.Join(errs...)
		if err == nil {
			space.Table.Sweep(pause) // or not, where a task is stuck
		}
		return err
	}, space)
}

// unplace takes a placement off its site, and the site out if it was the last.
func (s *session) unplace(pl *probe.Placement) error {
	site, err := s.takeOff(pl)
	if site == nil {
		return err
	}
	table := pl.Proc.Space.Table
	var leaning []*breakpoint.Site
	for _, other := range table.Sharing([]*breakpoint.Site{site}) {
		if other != site && other.Jumps() {
			leaning = append(leaning, other)
		}
	}
	if err := s.jump.Downgrade(pl.Proc.Space, leaning, "another probe was near"); err != nil {
		return err // jumps lean on what the site has displaced
	}
	return table.Remove([]*breakpoint.Site{site})
}

// takeOff takes a placement off its site, which it gives back if nothing is there any
// more: it is to be removed.
func (s *session) takeOff(pl *probe.Placement) (*breakpoint.Site, error) {
	if pl.Rung == breakpoint.Hardware {
		return nil, s.watch.Remove(pl.Proc, pl)
	}
	if pl.Link != nil {
		s.uprobe.Cut(pl)
		return nil, nil
	}
	c := pl.Counter.In
	pl.Freeze() // others may count on there, and a process that another tracer has
	if pl.Site == nil || pl.Site.Tag == nil {
		return nil, nil
	}
	g := probe.Of(pl.Site)
	g.Drop(pl)
	if c != nil && c.Users == 0 && g.Shared == c {
		g.Shared = nil
	}
	site := pl.Site
	pl.Site = nil
	if s.loop.Procs[pl.Proc.PID] != pl.Proc || len(g.List) > 0 {
		return nil, nil
	}
	return site, nil
}

// dropPlacements forgets where probes are in a space that goes away; what
// they counted stays. Of those of children that nobody hit few are kept.
func (s *session) dropPlacements(proc *inferior.Process, lent bool) {
	over := proc.Space.Users == 1 && !lent // no task counts on
	var unused []*inproc.Tally
	for _, p := range s.probes {
		p.Places = slices.DeleteFunc(p.Places, func(pl *probe.Placement) bool {
			if pl.Proc != proc {
				return false
			}
			if c := pl.Counter.In; over && s.jump.OwnCounter(pl) {
				if pl.Freeze(); c.Users == 0 {
					unused = append(unused, c)
				}
			}
			pl.Site, pl.Over = nil, true
			s.uprobe.Cut(pl)
			return pl.Count() == 0 && (pl.Child || len(proc.Ancestors) > 0 && p.Spare(pl))
		})
	}
	s.inproc.SpareCounters(unused)
	s.watch.Forget(proc)
	s.uprobe.CloseLater()
}

// inherit gives a forked child's sites the placements of the parent's.
func (s *session) inherit(parent, child *inferior.Process) {
	for _, site := range child.Space.Table.Sites() {
		g := &probe.Consumers{Plain: true}
		site.Tag = g
		old := parent.Space.Table.At(site.Addr)
		if child.Leaving || old == nil || old.Tag == nil {
			continue // it is let go before it executes anything
		}
		probe.Of(old).Shared = nil // the child adds to it, too
		for _, pl := range probe.Of(old).List {
			c := &probe.Placement{Probe: pl.Probe, Proc: child, Place: pl.Place, Hook: pl.Hook, Behind: pl.Behind, Aside: pl.Aside, Site: site, Rung: pl.Rung, Why: pl.Why, Child: true}
			switch {
			case pl.Hook != nil, pl.Probe.Gone, !s.covers(pl.Probe, child): // see strip
				g.Add(c)
			default:
				s.place(c)
			}
		}
	}
}

func (s *session) probe(id event.ProbeID) (*probe.Probe, error) {
	if id < 1 || int(id) > len(s.probes) {
		return nil, fmt.Errorf("%d: %w", id, ErrNoProbe)
	}
	return s.probes[id-1], nil
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
	_ = s.loop.Do(func() error { s.lookForLost(); return nil })
	s.look(func() {
		for _, p := range s.probes {
			if id != 0 && p.ID != id {
				continue
			}
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
