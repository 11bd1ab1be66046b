package engine

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
)

// Where the locations of probes are.

// spot is one address to be planted for a probe.
type spot struct {
	place
	orig []byte
	why  string // why it is not quite where it was asked for
	gap  string
	// ifunc is the resolver that is there: what that gives back is meant. Its name is
	// binary and shown.
	ifunc         *ifunc
	binary, shown string
}

// at is a spot of ptracer's own.
func at(addr arch.Addr, orig []byte, name string) spot {
	return spot{place: place{addr: addr, name: name}, orig: orig}
}

// placement is a probe's at a spot, served by nothing yet.
func (sp *spot) placement(p *probe, proc *inferior.Process) *placement {
	return &placement{probe: p, proc: proc, place: sp.place, why: sp.why, gap: sp.gap}
}

// spots resolves a probe's location in objects. Without a binary's name the
// main program has precedence.
func (s *session) spots(p *probe, mods []*symbols.Module) (spots []spot, err error) {
	if p.loc.HasAddress && p.loc.Binary == "" {
		return []spot{s.addressSpot(p, mods)}, nil
	}
	for _, m := range mods {
		if !p.loc.MatchesBinary(*m) || p.loc.Binary == "" && p.found && !m.Main {
			continue
		}
		found, e := s.moduleSpots(p, m)
		if e != nil {
			if err == nil || m.Main {
				err = e
			}
			continue
		}
		spots = append(spots, found...)
		if p.loc.Binary == "" && len(spots) > 0 {
			return spots, nil
		}
	}
	if len(spots) == 0 && err == nil {
		err = fmt.Errorf("%s: %w", p.spec.Location, symbols.ErrNotFound)
	}
	return spots, err
}

// foundSpots are a probe's in an object that was loaded with a bias, by a path.
type foundSpots struct {
	bias  arch.Addr
	path  string
	spots []spot
}

// moduleSpots resolves a probe's location in one object; the next process that has it
// loaded there has the same.
func (s *session) moduleSpots(p *probe, m *symbols.Module) (spots []spot, err error) {
	if len(m.Copies) > 0 { // where these are is this process's own
		return s.findSpots(p, m)
	}
	if have, ok := p.spots[m.File]; ok && have.bias == m.Bias && have.path == m.Path {
		return have.spots, nil
	}
	if spots, err = s.findSpots(p, m); err != nil {
		return nil, err
	}
	if p.spots == nil {
		p.spots = map[*symbols.File]foundSpots{}
	}
	p.spots[m.File] = foundSpots{m.Bias, m.Path, spots}
	return spots, nil
}

func (s *session) findSpots(p *probe, m *symbols.Module) (spots []spot, err error) {
	places := append([]*symbols.Module{m}, m.Copies...)
	for _, at := range p.points() {
		loc := p.targets(at)
		targets := p.ahead[m.File]
		if len(targets) == 0 || loc != p.loc {
			if targets, err = loc.Resolve(m.File, s.isa); err != nil {
				return nil, err
			}
		}
		for i := range targets {
			if targets[i].Ifunc {
				if at == p.points()[0] { // it stands for all of them
					spots = append(spots, s.ifuncSpot(p, m, &targets[i]))
				}
				continue
			}
			for _, place := range places {
				if !place.Has(place.Runtime(targets[i].Addr)) {
					continue
				}
				if sp, ok := s.targetSpot(p, place, &targets[i]); ok {
					sp.point, sp.second = at, at != p.points()[0]
					spots = append(spots, sp)
				}
			}
		}
	}
	return spots, nil
}

// targets is where a probe's location has one of its programs run.
func (p *probe) targets(at build.Point) symbols.Location {
	loc := p.loc
	loc.Return = loc.Return || at == build.Exit
	return loc
}

// ifuncSpot stands for what an IFUNC's resolver gives back.
func (s *session) ifuncSpot(p *probe, m *symbols.Module, t *symbols.Target) spot {
	binary := p.loc.NameOf(*m) + ":"
	return spot{place: place{addr: m.Bias + t.Addr, name: binary + t.Name, point: p.points()[0]}, ifunc: s.ifuncOf(m, t), binary: binary, shown: t.Name}
}

func (s *session) addressSpot(p *probe, mods []*symbols.Module) spot {
	sp := at(p.loc.Address, nil, p.spec.Location)
	for _, m := range mods {
		if m := m.At(sp.addr); m != nil && m.Has(sp.addr) {
			sp.orig = s.fileBytes(m, sp.addr-m.Bias)
			sp.calls = s.callsInside(p, m, sp.addr-m.Bias)
		}
	}
	return sp
}

// callsInside is the convention of the function that an address lies in.
func (s *session) callsInside(p *probe, m *symbols.Module, vaddr arch.Addr) arch.Convention {
	if !p.asks() || !m.File.IsGo() {
		return arch.C
	}
	fn, ok := m.File.FunctionAt(vaddr)
	if !ok {
		return arch.NotKnown
	}
	return s.callsAt(p, m, &symbols.Target{Addr: vaddr, Function: fn, Entry: vaddr == fn.Addr || vaddr == m.File.Body(s.isa, fn)})
}

func (s *session) fileBytes(m *symbols.Module, vaddr arch.Addr) []byte {
	for n := s.isa.MaxInst(); n > 0; n-- {
		buf := make([]byte, n)
		if m.File.Text(vaddr, buf) == nil {
			return buf
		}
	}
	return nil
}

func (s *session) targetSpot(p *probe, m *symbols.Module, t *symbols.Target) (spot, bool) {
	sp := spot{place: place{addr: m.Bias + t.Addr, name: p.loc.NameOf(*m) + ":" + t.Name, top: t.Exit != nil || t.Entry}}
	if t.Entry {
		sp.begins = m.Bias + t.Function.Addr
	}
	vaddr := t.Addr
	if start, inside := s.exclusive(m, t); inside {
		if p.loc.Every {
			return sp, false // its start is an instruction of the function too
		}
		sp.why = fmt.Sprintf("%v: moved to its start from %s", breakpoint.ErrExclusive, sp.addr)
		vaddr, sp.addr = start, m.Bias+start
	}
	if t.Resolver {
		sp.gap = gapPart
	}
	sp.orig = s.fileBytes(m, vaddr)
	if t.Exit != nil {
		sp.exit = s.exitTest(m, t)
	}
	sp.flags = t.Entry && s.readsFlags(m, t.Function)
	sp.calls = s.callsAt(p, m, t)
	return sp, true
}

// readsFlags is whether a function begins by saving the flags of who has not called it:
// Go's runtime has threads come to asyncPreempt from anywhere.
func (s *session) readsFlags(m *symbols.Module, fn symbols.Function) bool {
	const most = 256 // bytes: it saves all registers first
	code := make([]byte, min(most, fn.Size))
	return m.File.Text(fn.Addr, code) == nil && s.isa.FlagsLive(code)
}

// exitTest is what a hit at an exit has to pass to count as one.
func (s *session) exitTest(m *symbols.Module, t *symbols.Target) *exitTest {
	x := &exitTest{tail: t.Exit.Kind != symbols.Return, always: t.Exit.Kind == symbols.Return || t.Exit.Kind == symbols.TailJump}
	if x.always {
		return x
	}
	parts, err := m.File.Parts(s.isa, t.Function)
	if err != nil || len(parts) == 0 {
		parts = []symbols.Range{{Start: t.Function.Addr, End: t.Function.Addr + arch.Addr(t.Function.Size)}}
	}
	for _, r := range parts {
		x.ranges = append(x.ranges, [2]arch.Addr{m.Runtime(r.Start), m.Runtime(r.End)})
	}
	return x
}

// exclusive asks whether a target lies where a trap would keep a store-exclusive
// from ever succeeding.
func (s *session) exclusive(m *symbols.Module, t *symbols.Target) (arch.Addr, bool) {
	if s.isa.MinInst() == 1 || t.Entry {
		return 0, false
	}
	code := make([]byte, min(t.Function.Size, 1<<20))
	if m.File.Text(t.Function.Addr, code) != nil {
		return 0, false
	}
	return s.isa.Exclusive(code, t.Function.Addr, t.Addr)
}
