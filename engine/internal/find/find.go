// Package find resolves the locations of probes to targets in the objects of a process. It reads
// files, and changes no process.
package find

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
)

// Finder finds targets, and remembers the IFUNCs that it has found.
type Finder struct {
	isa    arch.ISA
	ifuncs map[ifuncKey]*probe.IFunc
	scopes scopes
}

// New returns a session's Finder.
func New(isa arch.ISA) *Finder { return &Finder{isa: isa, ifuncs: map[ifuncKey]*probe.IFunc{}} }

// callsAt returns the calling convention of the function that a target is in, as far as the probe
// asks for it. Behind a function's entry register arguments are still readable, if the function has
// not moved them; arguments on the stack are not.
func (f *Finder) callsAt(p *probe.Probe, m *symbols.Module, t *location.Target) arch.Convention {
	if !p.Asks() {
		return arch.C
	}
	if p.Loc.File != "" && !t.Entry { // the compiler has other uses for the registers there
		return arch.NotKnown
	}
	if !m.File.IsGo() {
		return arch.C
	}
	if t.Function.Name == "" {
		return arch.NotKnown
	}
	c := m.File.Convention(t.Function)
	if c == arch.GoStack && !t.Entry && t.Exit == nil {
		return arch.NotKnown
	}
	return c
}

// ResultRegister returns the word of the register in which a function returns its result.
func ResultRegister(isa arch.ISA) int {
	word, _ := isa.ArgReg(arch.GoRegisters, 0)
	return word
}

// The resolution of locations.

// Spots returns the targets of a probe in objects. If the location names no object, the main
// program goes before libraries.
func (f *Finder) Spots(p *probe.Probe, mods []*symbols.Module) (spots []probe.Target, err error) {
	if p.Loc.HasAddress && p.Loc.Binary == "" {
		return []probe.Target{f.addressSpot(p, mods)}, nil
	}
	for _, m := range mods {
		if !p.Loc.MatchesBinary(*m) || p.Loc.Binary == "" && p.Found && !m.Main {
			continue
		}
		found, e := f.ModuleSpots(p, m)
		if e != nil {
			if err == nil || m.Main {
				err = e
			}
			continue
		}
		spots = append(spots, found...)
		if p.Loc.Binary == "" && len(spots) > 0 {
			return spots, nil
		}
	}
	if len(spots) == 0 && err == nil {
		err = fmt.Errorf("%s: %w", p.Spec.Location, symbols.ErrNotFound)
	}
	return spots, err
}

// ModuleSpots returns the targets of a probe in one object. It keeps them for the next process that
// has the object at the same place.
func (f *Finder) ModuleSpots(p *probe.Probe, m *symbols.Module) (spots []probe.Target, err error) {
	if len(m.Copies) > 0 { // only this process has the copies there
		return f.findSpots(p, m)
	}
	if have, ok := p.Spots[m.File]; ok && have.Bias == m.Bias && have.Path == m.Path {
		return have.Spots, nil
	}
	if spots, err = f.findSpots(p, m); err != nil {
		return nil, err
	}
	if p.Spots == nil {
		p.Spots = map[*symbols.File]probe.Found{}
	}
	p.Spots[m.File] = probe.Found{Bias: m.Bias, Path: m.Path, Spots: spots}
	return spots, nil
}

// findSpots is ModuleSpots without what was kept.
func (f *Finder) findSpots(p *probe.Probe, m *symbols.Module) (spots []probe.Target, err error) {
	places := append([]*symbols.Module{m}, m.Copies...)
	for _, at := range p.Points() {
		loc := p.Targets(at)
		targets := p.Ahead[m.File]
		if len(targets) == 0 || loc != p.Loc {
			if targets, err = loc.Resolve(m.File, f.isa); err != nil {
				return nil, err
			}
		}
		for i := range targets {
			if targets[i].Ifunc {
				if at == p.Points()[0] { // it stands for all points of the handler
					spots = append(spots, f.ifuncSpot(p, m, &targets[i]))
				}
				continue
			}
			for _, place := range places {
				if !place.Has(place.Runtime(targets[i].Addr)) {
					continue
				}
				if sp, ok := f.TargetSpot(p, place, &targets[i]); ok {
					sp.Point, sp.Second = at, at != p.Points()[0]
					spots = append(spots, sp)
				}
			}
		}
	}
	return spots, nil
}

// ifuncSpot returns the target that stands for the function that an IFUNC's resolver returns.
func (f *Finder) ifuncSpot(p *probe.Probe, m *symbols.Module, t *location.Target) probe.Target {
	binary := p.Loc.NameOf(*m) + ":"
	return probe.Target{Place: probe.Place{Addr: m.Bias + t.Addr, Name: binary + t.Name, Point: p.Points()[0]}, IFunc: f.ifuncOf(m, t), Binary: binary, Shown: t.Name}
}

// addressSpot returns the target of a location that is an address.
func (f *Finder) addressSpot(p *probe.Probe, mods []*symbols.Module) probe.Target {
	sp := probe.At(p.Loc.Address, nil, p.Spec.Location)
	for _, m := range mods {
		if m := m.At(sp.Addr); m != nil && m.Has(sp.Addr) {
			sp.Orig = inferior.Bytes(f.isa, m, sp.Addr-m.Bias)
			sp.Calls = f.CallsInside(p, m, sp.Addr-m.Bias)
			sp.Bound, sp.Unbound = f.Bind(p, m, f.targetInside(m, sp.Addr-m.Bias), sp.Addr-m.Bias, sp.Calls)
		}
	}
	return sp
}

// CallsInside returns the calling convention of the function that an address lies in.
func (f *Finder) CallsInside(p *probe.Probe, m *symbols.Module, vaddr arch.Addr) arch.Convention {
	if !p.Asks() || !m.File.IsGo() {
		return arch.C
	}
	t := f.targetInside(m, vaddr)
	if t.Function.Name == "" {
		return arch.NotKnown
	}
	return f.callsAt(p, m, t)
}

// targetInside is an address of an object as a target.
func (f *Finder) targetInside(m *symbols.Module, vaddr arch.Addr) *location.Target {
	t := &location.Target{Addr: vaddr}
	if fn, ok := m.File.FunctionAt(vaddr); ok {
		t.Function, t.Entry = fn, vaddr == fn.Addr || m.File.IsGo() && vaddr == m.File.Body(f.isa, fn)
	}
	return t
}

// PlaceInside is what a handler depends on at an address of an object where a task stands.
func (f *Finder) PlaceInside(p *probe.Probe, m *symbols.Module, vaddr arch.Addr) (handler.Place, error) {
	calls := f.CallsInside(p, m, vaddr)
	bound, err := f.Bind(p, m, f.targetInside(m, vaddr), vaddr, calls)
	return handler.Place{Calls: calls, Bound: bound}, err
}

// TargetSpot returns the target of a probe at an address that was resolved in an object. It reports
// false for an address that is no place for a probe of its own.
func (f *Finder) TargetSpot(p *probe.Probe, m *symbols.Module, t *location.Target) (probe.Target, bool) {
	sp := probe.Target{Place: probe.Place{Addr: m.Bias + t.Addr, Name: p.Loc.NameOf(*m) + ":" + t.Name, Top: t.Exit != nil || t.Entry}}
	if t.Entry {
		sp.Begins = m.Bias + t.Function.Addr
	}
	vaddr := t.Addr
	if start, inside := f.exclusive(m, t); inside {
		if p.Loc.Every {
			return sp, false // the start of the sequence has a target, too
		}
		sp.Why = fmt.Sprintf("%v: moved to its start from %s", breakpoint.ErrExclusive, sp.Addr)
		vaddr, sp.Addr = start, m.Bias+start
	}
	if t.Resolver {
		sp.Gap = gapPart
	}
	sp.Orig = inferior.Bytes(f.isa, m, vaddr)
	if t.Exit != nil {
		sp.Exit = f.exitTest(m, t)
	}
	sp.Flags = t.Entry && f.readsFlags(m, t.Function)
	sp.Calls = f.callsAt(p, m, t)
	sp.Bound, sp.Unbound = f.Bind(p, m, t, vaddr, sp.Calls)
	return sp, true
}

// readsFlags reports whether a function begins by saving flags that its caller has not set for it:
// Go's runtime makes threads come to asyncPreempt from anywhere.
func (f *Finder) readsFlags(m *symbols.Module, fn symbols.Function) bool {
	const most = 256 // bytes: it saves all registers first
	code := make([]byte, min(most, fn.Size))
	return m.File.Text(fn.Addr, code) == nil && f.isa.FlagsLive(code)
}

// exitTest returns the test that a hit at an exit must pass.
func (f *Finder) exitTest(m *symbols.Module, t *location.Target) *probe.ExitTest {
	x := &probe.ExitTest{Tail: t.Exit.Kind != symbols.Return, Always: t.Exit.Kind == symbols.Return || t.Exit.Kind == symbols.TailJump}
	if x.Always {
		return x
	}
	parts, err := m.File.Parts(f.isa, t.Function)
	if err != nil || len(parts) == 0 {
		parts = []symbols.Range{{Start: t.Function.Addr, End: t.Function.Addr + arch.Addr(t.Function.Size)}}
	}
	for _, r := range parts {
		x.Ranges = append(x.Ranges, [2]arch.Addr{m.Runtime(r.Start), m.Runtime(r.End)})
	}
	return x
}

// exclusive reports whether a target lies in a sequence of load- and store-exclusive, which never
// succeeds across a trap (arm64), and where the sequence starts.
func (f *Finder) exclusive(m *symbols.Module, t *location.Target) (arch.Addr, bool) {
	if f.isa.MinInst() == 1 || t.Entry {
		return 0, false
	}
	code := make([]byte, min(t.Function.Size, 1<<20))
	if m.File.Text(t.Function.Addr, code) != nil {
		return 0, false
	}
	return f.isa.Exclusive(code, t.Function.Addr, t.Addr)
}

// ifuncKey tells resolvers apart.
type ifuncKey struct {
	file *symbols.File
	at   arch.Addr
}

// ifuncOf returns the resolver that a target is.
func (f *Finder) ifuncOf(m *symbols.Module, t *location.Target) *probe.IFunc {
	key := ifuncKey{m.File, m.Bias + t.Addr}
	r := f.ifuncs[key]
	if r == nil {
		r = &probe.IFunc{At: key.at, Fn: t.Function, File: m.File}
		f.ifuncs[key] = r
	}
	return r
}

// gapPart is the gap of a probe at an instruction of a resolver.
const gapPart = "an instruction of an IFUNC's resolver, which runs once: calls of what it has chosen are not counted"
