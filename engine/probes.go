package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
)

// probe is what a tracer asked for, and everywhere it is.
type probe struct {
	id      event.ProbeID
	spec    ProbeSpec
	handler *opened // the spec's
	loc     symbols.Location
	places  []*placement
	gone    bool
	found   bool // its location has been found somewhere
	told    bool // that events lack arguments
	spots   map[*symbols.File]foundSpots
	ahead   map[*symbols.File][]symbols.Target // what lookAhead has found
	unhit   map[unhit]bool                     // of these one is kept, see spare
}

// unhit is what is worth to be known of a place that nobody hit.
type unhit struct {
	name   string
	failed bool
}

// spare is whether an ended process's place that nobody hit need not be kept: a
// build has hundreds of processes, with thousands of such each. Of those of one name
// one is kept, and all where a location names just them.
func (p *probe) spare(pl *placement) bool {
	if !p.loc.Every && !p.loc.IsGlob() {
		return false
	}
	u := unhit{pl.name, pl.err != nil}
	if p.unhit[u] {
		return true
	}
	if p.unhit == nil {
		p.unhit = map[unhit]bool{}
	}
	p.unhit[u] = true
	return false
}

// Register implements Session.
func (s *session) Register(spec ProbeSpec) (event.ProbeID, error) {
	loc, err := symbols.ParseLocation(spec.Location)
	if err != nil {
		return 0, err
	}
	if spec.Action == ActionCall && spec.Func == nil {
		return 0, errors.New("a probe with ActionCall has no Func")
	}
	if spec.Args > event.MaxArgs {
		return 0, fmt.Errorf("%d arguments asked for: an event carries up to %d", spec.Args, event.MaxArgs)
	}
	p := &probe{spec: spec, loc: loc}
	if err := p.checkHandler(s); err != nil {
		return 0, err
	}
	if err := s.lookAhead(p); err != nil {
		return 0, err
	}
	err = s.loop.Do(func() error {
		err := s.register(p)
		p.ahead = nil
		return err
	})
	return p.id, err
}

// lookAhead resolves a location outside the session's thread, so that symbols
// are read while nothing waits for us.
func (s *session) lookAhead(p *probe) error {
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
		if !p.loc.MatchesBinary(*m) || p.loc.HasAddress {
			continue
		}
		if p.asks() {
			m.File.Convention(symbols.Function{})
		}
		if p.ahead[m.File] != nil {
			continue
		}
		found, _ := p.loc.Resolve(m.File, s.isa)
		if len(found) == 0 {
			continue
		}
		if p.ahead == nil {
			p.ahead = map[*symbols.File][]symbols.Target{}
		}
		p.ahead[m.File] = found
		if p.mayJump() && jumping && s.noJumps() == nil {
			m.File.Survey(s.isa)
			goruntime.List(m) // not first in a pause
		}
	}
	return nil
}

func (s *session) register(p *probe) error {
	var errs []error
	for _, proc := range s.loop.Procs {
		if !proc.Silent {
			s.hookLoader(proc)
			s.hookGoTracer(proc)
		}
		err := s.plant(p, proc, s.modules(proc))
		if err = errors.Join(err, s.jumpAgain(proc)); err != nil { // of others' sites, too
			errs = append(errs, err)
		}
	}
	planted := 0
	var first error
	for _, pl := range p.places {
		if pl.err == nil {
			planted++
		} else if first == nil {
			first = pl.err
		}
	}
	switch {
	case planted > 0 || p.spec.Pending && first == nil:
	case first != nil:
		return fmt.Errorf("%s: %w", p.spec.Location, first)
	case len(errs) > 0:
		return errors.Join(errs...)
	}
	p.id = event.ProbeID(len(s.probes) + 1)
	s.probes = append(s.probes, p)
	return nil
}

// modules lists a process's objects, the main program first.
func (s *session) modules(proc *inferior.Process) (mods []*symbols.Module) {
	for _, m := range proc.Modules {
		if m.Main {
			mods = append([]*symbols.Module{m}, mods...)
		} else {
			mods = append(mods, m)
		}
	}
	return mods
}

// plant puts p into the given objects of a process.
func (s *session) plant(p *probe, proc *inferior.Process, mods []*symbols.Module) error {
	if p.gone || proc.Silent || !s.covers(p, proc) {
		return nil
	}
	spots, err := s.spots(p, mods)
	if len(spots) == 0 {
		return err
	}
	p.found = true
	if spots = s.implemented(p, proc, spots); len(spots) == 0 || s.loop.Procs[proc.PID] != proc {
		return nil
	}
	return s.plantSpots(p, proc, spots)
}

// plantSpots puts p where it is to be, by what serves it.
func (s *session) plantSpots(p *probe, proc *inferior.Process, spots []spot) error {
	if spots = s.able(p, proc, spots); len(spots) == 0 {
		return nil
	}
	if h := p.handler; h != nil && h.kernel != nil {
		return s.plantKernel(p, proc, spots)
	}
	if p.spec.Rung == breakpoint.Hardware {
		return s.plantWatch(p, proc, spots)
	}
	return s.plantSites(p, proc, spots)
}

// plantSites arms the sites of all spots, with one pause of one task at most.
func (s *session) plantSites(p *probe, proc *inferior.Process, spots []spot) error {
	if err := s.guardSpace(proc, spots[0].addr, len(spots)); err != nil {
		err = fmt.Errorf("probe %s in %d: %w", p.spec.Location, proc.PID, err)
		if !ptrace.IsGone(err) {
			for _, sp := range spots { // it has been found: that is to be known of it
				s.place(&placement{probe: p, proc: proc, name: sp.name, addr: sp.addr, point: sp.point, second: sp.second, err: err})
			}
		}
		return err
	}
	wants := make([]breakpoint.Want, len(spots))
	quiet := s.quiet(p)
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.addr, Orig: sp.orig, Rung: p.spec.Rung, Quiet: quiet}
	}
	sites, errs := s.insert(proc, wants)
	for i, sp := range spots {
		pl := sp.placement(p, proc)
		pl.err = errs[i]
		if errs[i] != nil && p.debugServes(errs[i]) {
			if pl.err = s.watchInstead(p, proc, sp, errs[i]); pl.err == nil {
				continue
			}
		}
		if site := sites[i]; site != nil {
			pl.site, pl.rung = site, site.Rung
			if pl.why == "" {
				pl.why = site.Reason
			}
		}
		s.place(pl)
	}
	err := s.openGates(proc, sites)
	return errors.Join(err, s.upgradePlaced(p, proc, sites)) // of the others
}

func (s *session) place(pl *placement) {
	space := pl.proc.Space
	if space.ID == 0 {
		s.spaces++
		space.ID = s.spaces
	}
	pl.space = space.ID
	if pl.site != nil {
		pl.site.Tag.(*tag).add(pl)
	}
	pl.probe.places = append(pl.probe.places, pl)
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
	return s.hookCalls(proc)
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
func (s *session) unplace(pl *placement) error {
	site, err := s.takeOff(pl)
	if site == nil {
		return err
	}
	table := pl.proc.Space.Table
	var leaning []*breakpoint.Site
	for _, other := range table.Sharing([]*breakpoint.Site{site}) {
		if other != site && other.Jumps() {
			leaning = append(leaning, other)
		}
	}
	if err := s.downgrade(pl.proc.Space, leaning, "another probe was near"); err != nil {
		return err // jumps lean on what the site has displaced
	}
	return table.Remove([]*breakpoint.Site{site})
}

// takeOff takes a placement off its site, which it gives back if nothing is there any
// more: it is to be removed.
func (s *session) takeOff(pl *placement) (*breakpoint.Site, error) {
	if pl.rung == breakpoint.Hardware {
		return nil, s.removeWatch(pl)
	}
	if pl.link != nil {
		s.unlink(pl)
		return nil, nil
	}
	c := pl.counter.in
	pl.freeze() // others may count on there, and a process that another tracer has
	if pl.site == nil || pl.site.Tag == nil {
		return nil, nil
	}
	g := pl.site.Tag.(*tag)
	g.drop(pl)
	if c != nil && c.users == 0 && g.shared == c {
		g.shared = nil
	}
	site := pl.site
	pl.site = nil
	if s.loop.Procs[pl.proc.PID] != pl.proc || len(g.list) > 0 {
		return nil, nil
	}
	return site, nil
}

// drop takes a placement out of a new list: somebody may be walking the old one.
// Sites that are gone keep their tags, which hold nothing then.
func (g *tag) drop(p *placement) {
	var rest []*placement
	for _, q := range g.list {
		if q != p {
			rest = append(rest, q)
		}
	}
	g.list = rest
	g.mark()
}

// dropPlacements forgets where probes are in a space that goes away; what
// they counted stays. Of those of children that nobody hit few are kept.
func (s *session) dropPlacements(proc *inferior.Process) {
	over := proc.Space.Users == 1 && s.away[proc.PID] == nil // nobody counts on
	var unused []*tally
	for _, p := range s.probes {
		p.places = slices.DeleteFunc(p.places, func(pl *placement) bool {
			if pl.proc != proc {
				return false
			}
			if c := pl.counter.in; over && s.ownCounter(pl) {
				if pl.freeze(); c.users == 0 {
					unused = append(unused, c)
				}
			}
			pl.site, pl.over = nil, true
			s.unlink(pl)
			return pl.count() == 0 && (pl.child || len(proc.Ancestors) > 0 && p.spare(pl))
		})
	}
	s.spareCounters(unused)
	delete(s.watches, proc)
	s.closeLater()
}

// inherit gives a forked child's sites the placements of the parent's.
func (s *session) inherit(parent, child *inferior.Process) {
	for _, site := range child.Space.Table.Sites() {
		g := &tag{plain: true}
		site.Tag = g
		old := parent.Space.Table.At(site.Addr)
		if child.Leaving || old == nil || old.Tag == nil {
			continue // it is let go before it executes anything
		}
		old.Tag.(*tag).shared = nil // the child adds to it, too
		for _, pl := range old.Tag.(*tag).list {
			c := &placement{probe: pl.probe, proc: child, name: pl.name, addr: pl.addr, exit: pl.exit,
				point: pl.point, second: pl.second, top: pl.top, begins: pl.begins, flags: pl.flags, calls: pl.calls, run: pl.run, hook: pl.hook, behind: pl.behind, aside: pl.aside, site: site, rung: pl.rung, why: pl.why, child: true}
			switch {
			case pl.hook != nil, pl.probe.gone, !s.covers(pl.probe, child): // see strip
				g.add(c)
			default:
				s.place(c)
			}
		}
	}
}

func (s *session) probe(id event.ProbeID) (*probe, error) {
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
		if p, err := s.probe(id); err == nil && !p.spec.Held { // which counts from Begin on
			for _, pl := range p.places {
				if !pl.second {
					n += pl.count()
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
			if id != 0 && p.id != id {
				continue
			}
			for _, pl := range p.places {
				if pl.second && pl.err == nil {
					continue
				}
				all = append(all, Placement{Probe: p.id, PID: pl.proc.PID, Name: pl.name, Addr: pl.addr,
					Rung: pl.rung, Reason: pl.why, Gap: pl.gap, Err: pl.err, Hits: pl.count(), Space: pl.space, Exit: pl.exit != nil})
			}
		}
	})
	return all
}
