package plant

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/symbols"
)

// callsAt is the convention of the function that a target is in. In the middle of a
// function its arguments, if they are where they were, are in its registers; on the
// stack they are not where they were.
func (r *Planter) callsAt(p *probe.Probe, m *symbols.Module, t *symbols.Target) arch.Convention {
	if !p.Asks() || !m.File.IsGo() {
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

// able gives the spots where a probe's handler can run. At those where it asks for what
// the calling convention does not tell, the probe gets a placement that says so.
func (r *Planter) able(p *probe.Probe, proc *inferior.Process, spots []probe.Target) []probe.Target {
	if p.Handler == nil {
		r.tellArgs(p, proc, spots)
		return spots
	}
	var list []probe.Target
	for _, sp := range spots {
		var err error
		if sp.Run, err = p.Handler.Under(sp.Calls); err == nil {
			list = append(list, sp)
		} else if !sp.Second {
			r.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
		}
	}
	return list
}

// tellArgs tells, once, of which functions a probe's events will not have the arguments
// that they are to have.
func (r *Planter) tellArgs(p *probe.Probe, proc *inferior.Process, spots []probe.Target) {
	if p.Spec.Args == 0 || p.Told {
		return
	}
	n, first := 0, probe.Target{}
	for _, sp := range spots {
		if !probe.Knows(sp.Calls, sp.Exit) {
			if n++; n == 1 {
				first = sp
			}
		}
	}
	if n == 0 {
		return
	}
	p.Told = true
	what, others := "arguments", ""
	if first.Exit != nil {
		what = "results"
	}
	if n > 1 {
		others = fmt.Sprintf(" (nor of %d other places)", n-1)
	}
	r.loop.Warn(proc, "nothing says where %s has its %s, in registers or on the stack%s: hits are told without; a handler can record a register, as $%s",
		first.Name, what, others, r.isa.RegNames()[ResultRegister(r.isa)])
}

// ResultRegister is the word in which functions return what fits into one.
func ResultRegister(isa arch.ISA) int {
	word, _ := isa.ArgReg(arch.GoRegisters, 0)
	return word
}

// Where the locations of probes are.

// spots resolves a probe's location in objects. Without a binary's name the
// main program has precedence.
func (r *Planter) spots(p *probe.Probe, mods []*symbols.Module) (spots []probe.Target, err error) {
	if p.Loc.HasAddress && p.Loc.Binary == "" {
		return []probe.Target{r.addressSpot(p, mods)}, nil
	}
	for _, m := range mods {
		if !p.Loc.MatchesBinary(*m) || p.Loc.Binary == "" && p.Found && !m.Main {
			continue
		}
		found, e := r.moduleSpots(p, m)
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

// moduleSpots resolves a probe's location in one object; the next process that has it
// loaded there has the same.
func (r *Planter) moduleSpots(p *probe.Probe, m *symbols.Module) (spots []probe.Target, err error) {
	if len(m.Copies) > 0 { // where these are is this process's own
		return r.findSpots(p, m)
	}
	if have, ok := p.Spots[m.File]; ok && have.Bias == m.Bias && have.Path == m.Path {
		return have.Spots, nil
	}
	if spots, err = r.findSpots(p, m); err != nil {
		return nil, err
	}
	if p.Spots == nil {
		p.Spots = map[*symbols.File]probe.Found{}
	}
	p.Spots[m.File] = probe.Found{Bias: m.Bias, Path: m.Path, Spots: spots}
	return spots, nil
}

func (r *Planter) findSpots(p *probe.Probe, m *symbols.Module) (spots []probe.Target, err error) {
	places := append([]*symbols.Module{m}, m.Copies...)
	for _, at := range p.Points() {
		loc := p.Targets(at)
		targets := p.Ahead[m.File]
		if len(targets) == 0 || loc != p.Loc {
			if targets, err = loc.Resolve(m.File, r.isa); err != nil {
				return nil, err
			}
		}
		for i := range targets {
			if targets[i].Ifunc {
				if at == p.Points()[0] { // it stands for all of them
					spots = append(spots, r.ifuncSpot(p, m, &targets[i]))
				}
				continue
			}
			for _, place := range places {
				if !place.Has(place.Runtime(targets[i].Addr)) {
					continue
				}
				if sp, ok := r.targetSpot(p, place, &targets[i]); ok {
					sp.Point, sp.Second = at, at != p.Points()[0]
					spots = append(spots, sp)
				}
			}
		}
	}
	return spots, nil
}

// ifuncSpot stands for what an IFUNC's resolver gives back.
func (r *Planter) ifuncSpot(p *probe.Probe, m *symbols.Module, t *symbols.Target) probe.Target {
	binary := p.Loc.NameOf(*m) + ":"
	return probe.Target{Place: probe.Place{Addr: m.Bias + t.Addr, Name: binary + t.Name, Point: p.Points()[0]}, IFunc: r.ifuncOf(m, t), Binary: binary, Shown: t.Name}
}

func (r *Planter) addressSpot(p *probe.Probe, mods []*symbols.Module) probe.Target {
	sp := probe.At(p.Loc.Address, nil, p.Spec.Location)
	for _, m := range mods {
		if m := m.At(sp.Addr); m != nil && m.Has(sp.Addr) {
			sp.Orig = inferior.Bytes(r.isa, m, sp.Addr-m.Bias)
			sp.Calls = r.CallsInside(p, m, sp.Addr-m.Bias)
		}
	}
	return sp
}

// CallsInside is the convention of the function that an address lies in.
func (r *Planter) CallsInside(p *probe.Probe, m *symbols.Module, vaddr arch.Addr) arch.Convention {
	if !p.Asks() || !m.File.IsGo() {
		return arch.C
	}
	fn, ok := m.File.FunctionAt(vaddr)
	if !ok {
		return arch.NotKnown
	}
	return r.callsAt(p, m, &symbols.Target{Addr: vaddr, Function: fn, Entry: vaddr == fn.Addr || vaddr == m.File.Body(r.isa, fn)})
}

func (r *Planter) targetSpot(p *probe.Probe, m *symbols.Module, t *symbols.Target) (probe.Target, bool) {
	sp := probe.Target{Place: probe.Place{Addr: m.Bias + t.Addr, Name: p.Loc.NameOf(*m) + ":" + t.Name, Top: t.Exit != nil || t.Entry}}
	if t.Entry {
		sp.Begins = m.Bias + t.Function.Addr
	}
	vaddr := t.Addr
	if start, inside := r.exclusive(m, t); inside {
		if p.Loc.Every {
			return sp, false // its start is an instruction of the function too
		}
		sp.Why = fmt.Sprintf("%v: moved to its start from %s", breakpoint.ErrExclusive, sp.Addr)
		vaddr, sp.Addr = start, m.Bias+start
	}
	if t.Resolver {
		sp.Gap = gapPart
	}
	sp.Orig = inferior.Bytes(r.isa, m, vaddr)
	if t.Exit != nil {
		sp.Exit = r.exitTest(m, t)
	}
	sp.Flags = t.Entry && r.readsFlags(m, t.Function)
	sp.Calls = r.callsAt(p, m, t)
	return sp, true
}

// readsFlags is whether a function begins by saving the flags of who has not called it:
// Go's runtime has threads come to asyncPreempt from anywhere.
func (r *Planter) readsFlags(m *symbols.Module, fn symbols.Function) bool {
	const most = 256 // bytes: it saves all registers first
	code := make([]byte, min(most, fn.Size))
	return m.File.Text(fn.Addr, code) == nil && r.isa.FlagsLive(code)
}

// exitTest is what a hit at an exit has to pass to count as one.
func (r *Planter) exitTest(m *symbols.Module, t *symbols.Target) *probe.ExitTest {
	x := &probe.ExitTest{Tail: t.Exit.Kind != symbols.Return, Always: t.Exit.Kind == symbols.Return || t.Exit.Kind == symbols.TailJump}
	if x.Always {
		return x
	}
	parts, err := m.File.Parts(r.isa, t.Function)
	if err != nil || len(parts) == 0 {
		parts = []symbols.Range{{Start: t.Function.Addr, End: t.Function.Addr + arch.Addr(t.Function.Size)}}
	}
	for _, r := range parts {
		x.Ranges = append(x.Ranges, [2]arch.Addr{m.Runtime(r.Start), m.Runtime(r.End)})
	}
	return x
}

// exclusive asks whether a target lies where a trap would keep a store-exclusive
// from ever succeeding.
func (r *Planter) exclusive(m *symbols.Module, t *symbols.Target) (arch.Addr, bool) {
	if r.isa.MinInst() == 1 || t.Entry {
		return 0, false
	}
	code := make([]byte, min(t.Function.Size, 1<<20))
	if m.File.Text(t.Function.Addr, code) != nil {
		return 0, false
	}
	return r.isa.Exclusive(code, t.Function.Addr, t.Addr)
}
