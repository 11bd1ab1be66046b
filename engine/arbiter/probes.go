package arbiter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
)

// probe is a tracer's probe: one probe of a session for each process that it covers.
type probe struct {
	t      *Tracer
	id     event.ProbeID
	spec   engine.ProbeSpec
	writes bool // its handler writes

	// Tracer.mu protects all below.
	parts  []part
	places int
	gone   bool

	forgotten bool // its counts are not kept
}

type part struct {
	g   *group
	pid int
	id  event.ProbeID // the session's
	out bool          // unregistered in the session
}

// Register implements engine.Session.
func (t *Tracer) Register(spec engine.ProbeSpec) (event.ProbeID, error) {
	t.mu.Lock()
	roots := slices.Clone(t.roots)
	t.mu.Unlock()
	if spec.PID != 0 {
		roots = []int{spec.PID}
	}
	for _, pid := range roots {
		if _, err := t.may(pid); err != nil && (spec.PID != 0 || !errors.Is(err, engine.ErrNoProcess)) {
			return 0, err
		}
	}
	if err := t.a.spend(t.id.UID, Quota{Probes: 1}); err != nil {
		return 0, err
	}
	p := &probe{t: t, spec: spec, writes: spec.Handler != nil && spec.Handler.Info().Writes}
	if err := t.adopt(p, everProbes*t.a.opts.Quota.Probes); err != nil {
		_ = t.a.spend(t.id.UID, Quota{Probes: -1})
		return 0, err
	}
	if err := p.plantAll(roots); err != nil {
		return 0, errors.Join(err, p.unregister())
	}
	return p.id, nil
}

// everProbes times the number of probes that a tracer may have is the number it may have had
// without forgetting any: the counts of unregistered probes are kept.
const everProbes = 10

// plantAll registers a probe for several processes. It succeeds if the location is found in at
// least one of them.
func (p *probe) plantAll(pids []int) error {
	var found int
	var pending []int
	var first error
	for _, pid := range pids {
		err := p.plant(pid, p.spec.Pending)
		switch {
		case err == nil:
			found++
		case errors.Is(err, symbols.ErrNotFound) || errors.Is(err, engine.ErrNoProcess) || errors.Is(err, engine.ErrEnded):
			pending = append(pending, pid)
			first = errors.Join(first, err)
		default:
			return err
		}
	}
	if found == 0 {
		if first == nil {
			first = engine.ErrEnded
		}
		return first
	}
	for _, pid := range pending {
		if err := p.plant(pid, true); err != nil && !isOver(err) {
			return err
		}
	}
	return nil
}

// plant registers a probe with a session, for one process. If its tracer follows children, the
// probe covers the process's descendants too, except processes that the tracer has asked for
// separately.
func (p *probe) plant(pid int, pending bool) error {
	t := p.t
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	spec := p.spec
	spec.PID, spec.Pending, spec.Alone = pid, pending, spec.Alone || !t.opts.Follow
	spec.Except = append(slices.Clip(spec.Except), p.others(pid)...)
	if spec.Handler != nil {
		o, err := ownHandler(t, spec.Handler)
		if err == nil {
			spec.Handler, err = o.at(g)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Location, err)
		}
	}
	switch spec.Action {
	case engine.ActionStop:
		spec.Action = engine.ActionCall
		spec.Func = func(h engine.Hit) { shown{h, p, g}.Stop() }
	case engine.ActionCall:
		if f := spec.Func; f != nil {
			spec.Func = func(h engine.Hit) { f(shown{h, p, g}) }
		}
	}
	if !p.writes {
		return p.register(g, spec)
	}
	return g.write(t, pid, func() error { return p.register(g, spec) })
}

// others returns the processes that the probe's tracer has asked for besides pid.
func (p *probe) others(pid int) []int {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.t.roots), func(root int) bool { return root == pid })
}

// register plants a probe in a session, and records its owner.
func (p *probe) register(g *group, spec engine.ProbeSpec) error {
	t := p.t
	id, err := p.own(g, spec)
	if errors.Is(err, engine.ErrDebug) {
		return g.whoWatches(spec.PID, err)
	}
	if err != nil {
		return err
	}
	places := len(g.s.Placements(id))
	if err := t.a.spend(t.id.UID, Quota{Places: places}); err != nil {
		return errors.Join(err, g.s.Unregister(id))
	}
	t.mu.Lock()
	gone := p.gone || t.ended
	if !gone {
		p.parts = append(p.parts, part{g: g, pid: spec.PID, id: id})
		p.places += places
	}
	t.mu.Unlock()
	if gone {
		_ = t.a.spend(t.id.UID, Quota{Places: -places})
		return errors.Join(engine.ErrEnded, g.s.Unregister(id))
	}
	if p.writes {
		g.countWriter(t, spec.PID, 1)
	}
	return nil
}

// own registers a probe so that its owner is known before its first hit is delivered.
func (p *probe) own(g *group, spec engine.ProbeSpec) (event.ProbeID, error) {
	g.registering.Lock()
	defer g.registering.Unlock()
	id, err := g.s.RegisterFor(p.t, spec)
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owners[id] = p
	return id, nil
}

// countWriter records that a probe with a writing handler has been added to a process, or removed.
func (g *group) countWriter(t *Tracer, pid, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.leases[pid]; l != nil && l.of == t {
		l.writers = max(l.writers+n, 0)
		g.settle(t, pid)
	}
}

// whoWatches adds to an error which tracers have the debug registers of a process.
func (g *group) whoWatches(pid int, err error) error {
	var who []*Tracer
	for _, pl := range g.s.Placements(0) {
		if p := g.owner(pl.Probe); p != nil && pl.PID == pid && pl.Rung == breakpoint.Hardware && !slices.Contains(who, p.t) && p.isIn(pid) {
			who = append(who, p.t)
		}
	}
	if len(who) == 0 {
		return err
	}
	return fmt.Errorf("%w, by %s", err, names(who))
}

// isIn reports whether a probe is registered for a process.
func (p *probe) isIn(pid int) bool {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return slices.ContainsFunc(p.parts, func(x part) bool { return x.pid == pid && !x.out })
}

// unregister removes a probe from all processes.
func (p *probe) unregister() error {
	p.t.mu.Lock()
	first, places := !p.gone && !p.t.ended, p.places
	if first {
		p.gone, p.places = true, 0
	}
	p.t.mu.Unlock()
	if first { // else the tracer's end returns the quota
		_ = p.t.a.spend(p.t.id.UID, Quota{Probes: -1, Places: -places})
	}
	return p.take(func(part) bool { return true })
}

// uproot removes a probe from one process.
func (p *probe) uproot(pid int) error { return p.take(func(x part) bool { return x.pid == pid }) }

// uprootFrom removes a probe from a session.
func (p *probe) uprootFrom(g *group) error { return p.take(func(x part) bool { return x.g == g }) }

// take unregisters the parts of a probe that which picks. A part that does not exist any more is no
// error.
func (p *probe) take(which func(part) bool) error {
	var parts []part
	p.t.mu.Lock()
	for i, x := range p.parts {
		if !x.out && which(x) {
			p.parts[i].out = true
			parts = append(parts, x)
		}
	}
	p.t.mu.Unlock()
	var errs []error
	for _, x := range parts {
		if err := x.g.s.Unregister(x.id); err != nil && !isOver(err) {
			errs = append(errs, err)
		}
		if p.writes {
			x.g.countWriter(p.t, x.pid, -1)
		}
	}
	return errors.Join(errs...)
}

// Unregister implements engine.Session.
func (t *Tracer) Unregister(id event.ProbeID) error {
	p, _, err := t.probe(id)
	if err != nil {
		return err
	}
	return p.unregister()
}

// Begin implements engine.Session. If a tracer has several sessions, each begins at a moment of its
// own; Begin returns the last.
func (t *Tracer) Begin(ids ...event.ProbeID) (at int64, err error) {
	parts, err := t.partsOf(ids)
	for g, own := range parts {
		moment, e := g.s.Begin(own...)
		at, err = max(at, moment), errors.Join(err, e)
		n := g.s.Stats().Uncounted
		t.mu.Lock()
		t.uncounted[g] = n
		t.mu.Unlock()
	}
	return at, err
}

// Finish implements engine.Session. If a tracer has several sessions, each ends at a moment of its
// own; Finish returns the first.
func (t *Tracer) Finish(ids ...event.ProbeID) (at int64, err error) {
	parts, err := t.partsOf(ids)
	if err != nil {
		return 0, err
	}
	for g, own := range parts {
		moment, e := g.s.Finish(own...)
		if isOver(e) {
			e = nil
		}
		if at == 0 || moment != 0 && moment < at {
			at = moment
		}
		err = errors.Join(err, e)
	}
	for _, id := range ids { // the share of each probe in it
		p, _, e := t.probe(id)
		if e == nil {
			e = p.unregister()
		}
		err = errors.Join(err, e)
	}
	return at, err
}

// Release implements engine.Session.
func (t *Tracer) Release(id event.ProbeID) error {
	p, parts, err := t.probe(id)
	if err != nil {
		return err
	}
	t.mu.Lock()
	gone := p.gone || t.ended
	if gone && !p.forgotten {
		t.probes[id-1] = &probe{t: t, id: id, spec: engine.ProbeSpec{Location: p.spec.Location}, gone: true, forgotten: true}
		t.forgotten++
	}
	t.mu.Unlock()
	if !gone {
		return fmt.Errorf("release %d: %w", id, errStillThere)
	}
	for _, x := range parts {
		x.g.disown(x.id)
	}
	return nil
}

var errStillThere = errors.New("the probe has not been unregistered")

// Hits implements engine.Session.
func (t *Tracer) Hits(id event.ProbeID) (n uint64) {
	_, parts, _ := t.probe(id)
	for _, x := range parts {
		n += x.g.s.Hits(x.id)
	}
	return n
}

// Placements implements engine.Session.
func (t *Tracer) Placements(id event.ProbeID) (all []engine.Placement) {
	t.mu.Lock()
	n := len(t.probes)
	t.mu.Unlock()
	for i := range event.ProbeID(n) {
		if id != 0 && id != i+1 {
			continue
		}
		_, parts, _ := t.probe(i + 1)
		for _, x := range parts {
			for _, pl := range x.g.s.Placements(x.id) {
				pl.Probe = i + 1
				all = append(all, pl)
			}
		}
	}
	return all
}

// shown is a hit as its probe's tracer sees it.
type shown struct {
	engine.Hit
	p *probe
	g *group
}

// Probe implements engine.Hit.
func (s shown) Probe() event.ProbeID { return s.p.id }

// Stop implements engine.Hit: the tracer holds the task. A tracer with an expired hold is told of
// the hit, but holds nothing.
func (s shown) Stop() {
	t := s.p.t
	if t.late.Load() {
		t.Put(&event.Event{Time: engine.Now(), PID: s.PID(), TID: s.TID(),
			Body: &event.Hit{Probe: s.p.id, Location: s.Location(), Addr: s.Addr()}}, false)
		return
	}
	if s.g.hold(t, s.PID(), s.TID()) {
		s.Hit.Stop()
	}
}

// SetRegisters implements engine.Hit. If another tracer controls the process, or has changed the
// registers at this hit already, it changes nothing and tells the tracer.
func (s shown) SetRegisters(r arch.Regs) {
	err := s.g.first(s.p.t, s.TID())
	if err == nil {
		err = s.g.write(s.p.t, s.PID(), func() error { s.Hit.SetRegisters(r); return nil })
	}
	if err != nil {
		warn(s.p.t, s.PID(), s.TID(), "%v", err)
	}
}

// WriteMemory implements engine.Hit.
func (s shown) WriteMemory(addr arch.Addr, data []byte) error {
	return s.g.write(s.p.t, s.PID(), func() error { return s.Hit.WriteMemory(addr, data) })
}
