package arbiter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
)

// probe is a tracer's: one of the session for each process that it asked for.
type probe struct {
	t     *Tracer
	id    event.ProbeID
	spec  engine.ProbeSpec
	parts []part
	gone  bool
}

type part struct {
	pid int
	id  event.ProbeID // the session's
}

// Register implements engine.Session.
func (t *Tracer) Register(spec engine.ProbeSpec) (event.ProbeID, error) {
	t.g.mu.Lock()
	roots := slices.Clone(t.roots)
	t.g.mu.Unlock()
	if spec.PID != 0 {
		if err := t.may(spec.PID); err != nil {
			return 0, err
		}
		roots = []int{spec.PID}
	}
	for _, pid := range roots {
		if err := t.may(pid); err != nil && !errors.Is(err, engine.ErrNoProcess) {
			return 0, err
		}
	}
	if err := t.a.spend(t.id.UID, Quota{Probes: 1}); err != nil {
		return 0, err
	}
	p := &probe{t: t, spec: spec}
	t.g.mu.Lock()
	t.probes = append(t.probes, p)
	p.id = event.ProbeID(len(t.probes))
	t.g.mu.Unlock()
	if err := p.plantAll(roots); err != nil {
		return 0, errors.Join(err, p.unregister())
	}
	return p.id, nil
}

// plantAll registers a probe for several processes: it is enough to be found in
// one of them.
func (p *probe) plantAll(pids []int) error {
	var found int
	var pending []int
	var first error
	for _, pid := range pids {
		err := p.plant(pid, p.spec.Pending)
		switch {
		case err == nil:
			found++
		case errors.Is(err, symbols.ErrNotFound) || errors.Is(err, engine.ErrNoProcess):
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
		if err := p.plant(pid, true); err != nil && !errors.Is(err, engine.ErrNoProcess) {
			return err
		}
	}
	return nil
}

// plant registers a probe of the session, for one process.
func (p *probe) plant(pid int, pending bool) error {
	t, g := p.t, p.t.g
	spec := p.spec
	spec.PID, spec.Pending = pid, pending
	switch spec.Action {
	case engine.Stop:
		spec.Action = engine.Call
		spec.Func = func(h engine.Hit) { shown{h, p}.Stop() }
	case engine.Call:
		if f := spec.Func; f != nil {
			spec.Func = func(h engine.Hit) { f(shown{h, p}) }
		}
	}
	if h, ok := spec.Handler.(*openHandler); ok {
		if h.t != t {
			return fmt.Errorf("%s: %w: it is another tracer's", spec.Location, engine.ErrHandler)
		}
		spec.Handler = h.Handler
	}
	g.registering.Lock()
	defer g.registering.Unlock()
	id, err := g.s.Register(spec)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p.parts = append(p.parts, part{pid, id})
	g.owners[id] = p
	return nil
}

// shown is a hit as the probe's tracer sees it.
type shown struct {
	engine.Hit
	p *probe
}

// Probe implements engine.Hit.
func (s shown) Probe() event.ProbeID { return s.p.id }

// Stop implements engine.Hit: the tracer holds the task.
func (s shown) Stop() {
	if s.p.t.g.hold(s.p.t, s.PID(), s.TID()) {
		s.Hit.Stop()
	}
}

// SetRegisters implements engine.Hit. Where another tracer controls the process
// nothing is changed, and the tracer is told.
func (s shown) SetRegisters(r arch.Regs) {
	if err := s.p.t.controls(s.PID()); err != nil {
		s.p.t.Put(&event.Event{Kind: event.Warning, Time: engine.Now(), PID: s.PID(), TID: s.TID(), Text: err.Error()}, true)
		return
	}
	s.Hit.SetRegisters(r)
}

// WriteMemory implements engine.Hit.
func (s shown) WriteMemory(addr arch.Addr, data []byte) error {
	if err := s.p.t.controls(s.PID()); err != nil {
		return err
	}
	return s.Hit.WriteMemory(addr, data)
}

// unregister takes a probe away from all processes.
func (p *probe) unregister() error {
	g := p.t.g
	g.mu.Lock()
	was := p.gone
	p.gone = true
	parts := slices.Clone(p.parts)
	g.mu.Unlock()
	if was {
		return nil
	}
	_ = p.t.a.spend(p.t.id.UID, Quota{Probes: -1})
	return g.remove(parts)
}

// uproot takes a probe away from one process.
func (p *probe) uproot(pid int) error {
	g := p.t.g
	g.mu.Lock()
	parts := slices.DeleteFunc(slices.Clone(p.parts), func(x part) bool { return x.pid != pid })
	g.mu.Unlock()
	return g.remove(parts)
}

// remove unregisters probes of the session. That it is over is no error.
func (g *group) remove(parts []part) error {
	var errs []error
	for _, x := range parts {
		if err := g.s.Unregister(x.id); err != nil && !errors.Is(err, engine.ErrEnded) && !errors.Is(err, engine.ErrNoProbe) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// probe finds one of the tracer's.
func (t *Tracer) probe(id event.ProbeID) (*probe, []part, error) {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if id < 1 || int(id) > len(t.probes) {
		return nil, nil, fmt.Errorf("%d: %w", id, engine.ErrNoProbe)
	}
	p := t.probes[id-1]
	return p, slices.Clone(p.parts), nil
}

// Unregister implements engine.Session.
func (t *Tracer) Unregister(id event.ProbeID) error {
	p, _, err := t.probe(id)
	if err != nil {
		return err
	}
	return p.unregister()
}

// Hits implements engine.Session.
func (t *Tracer) Hits(id event.ProbeID) (n uint64) {
	_, parts, _ := t.probe(id)
	for _, x := range parts {
		n += t.g.s.Hits(x.id)
	}
	return n
}

// Placements implements engine.Session.
func (t *Tracer) Placements(id event.ProbeID) (all []engine.Placement) {
	t.g.mu.Lock()
	n := len(t.probes)
	t.g.mu.Unlock()
	for i := range event.ProbeID(n) {
		if id != 0 && id != i+1 {
			continue
		}
		_, parts, _ := t.probe(i + 1)
		for _, x := range parts {
			for _, pl := range t.g.s.Placements(x.id) {
				pl.Probe = i + 1
				all = append(all, pl)
			}
		}
	}
	return all
}
