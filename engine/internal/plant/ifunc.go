package plant

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// An IFUNC's symbol is a resolver: a function that runs when the loader, a static program's start
// or the first call binds the name. It returns the function that is called from then on. Where that
// function has no name of its own, the tracer knows it from words of memory that are bound already,
// and from hooks at the resolver's returns.

// The gaps of an IFUNC: its calls, or some of them, are not counted.
const (
	gapResolver = "the resolver of an IFUNC, which runs once: what it has chosen is not known, calls of that are not counted"
	gapUnbound  = "an IFUNC that no call has bound yet: calls by pointers that were taken before are not counted"

	gapHidden = "the resolver of an IFUNC, which ends by a jump: what it chooses is not seen, calls of that are not counted"
)

// implemented replaces IFUNCs among the targets by the functions that implement them. Where that is
// not known, the probe gets a placement that says so or waits for the resolver.
func (r *Planter) implemented(p *probe.Probe, proc *inferior.Process, spots []probe.Target) (out []probe.Target) {
	ifuncs := slices.DeleteFunc(slices.Clone(spots), func(sp probe.Target) bool { return sp.IFunc == nil })
	if len(ifuncs) == 0 {
		return spots
	}
	out = slices.DeleteFunc(slices.Clone(spots), func(sp probe.Target) bool { return sp.IFunc != nil })
	for _, sp := range ifuncs {
		f := sp.IFunc
		f.Probes = slices.DeleteFunc(f.Probes, func(p *probe.Probe) bool { return p.Gone })
		if !slices.Contains(f.Probes, p) {
			f.Probes = append(f.Probes, p)
		}
		begins := r.Beginning || begins(proc)
		gap := r.hookResolver(proc, f)
		if r.loop.Procs[proc.PID] != proc {
			return nil
		}
		chosen, bound := r.chosen(proc, f)
		for _, at := range chosen {
			out = append(out, r.implementation(p, proc, out, sp, at)...)
		}
		if len(chosen) == 0 {
			if gap == "" && !begins {
				gap = [...]string{unknown: gapResolver, unbound: gapUnbound, toNothing: ""}[bound]
			}
			pl := sp.Placement(p, proc)
			pl.Gap, pl.Waits, pl.Why = gap, f, "an IFUNC: planted when its resolver has run"
			r.place(pl)
		}
	}
	return out
}

// begins reports whether a process stands before its first instruction.
func begins(proc *inferior.Process) bool {
	for _, t := range proc.Tasks {
		if t.State != inferior.Stopped || t.Stop.Kind != ptrace.Exec {
			return false
		}
	}
	return true
}

// hookResolver plants hooks at a resolver's returns. gap says why its result will not be seen, if
// it will not.
func (r *Planter) hookResolver(proc *inferior.Process, f *probe.IFunc) (gap string) {
	m := proc.ModuleAt(f.At)
	if m == nil {
		return gapResolver
	}
	exits, err := m.File.Exits(r.isa, f.Fn)
	if err != nil || len(exits) == 0 {
		return gapHidden
	}
	var spots []probe.Target
	for _, x := range exits {
		if x.Kind != symbols.Return {
			gap = gapHidden
			continue
		}
		if at := m.Bias + x.Addr; !r.hook.Hooked(proc, at) {
			spots = append(spots, probe.Target{Place: probe.Place{Addr: at, Name: m.Base() + ":" + f.Fn.Name}, Orig: inferior.Bytes(r.isa, m, x.Addr)})
		}
	}
	if err := r.hook.Hook(proc, spots, r.resolved(f)); err != nil {
		gap = fmt.Sprintf("%s (%v)", gapResolver, err)
	}
	return gap
}

// binding is what words say of an IFUNC that lead to no implementation.
type binding uint8

const (
	unknown   binding = iota // there are no such words
	toNothing                // the resolver has returned 0, as one of glibc's does that only looks at the CPU
	unbound                  // the resolver has still to run for one of them
)

// chosen returns the functions that a resolver has returned, as far as words of the process's
// objects are bound to them.
func (r *Planter) chosen(proc *inferior.Process, f *probe.IFunc) (list []arch.Addr, others binding) {
	names := f.Fn.Names()
	for _, m := range proc.Objects() {
		slots := m.File.Slots(names)
		named := len(slots)
		if m.File == f.File {
			slots = append(slices.Clip(slots), m.File.ResolverSlots(f.Fn.Addr)...)
		}
		for i, slot := range slots {
			var b [8]byte
			if proc.Space.Memory.Read(m.Bias+slot.Addr, b[:]) != nil {
				continue
			}
			switch v := arch.Addr(binary.LittleEndian.Uint64(b[:])); {
			case v == 0 && i >= named: // such a word is bound before anything runs
				others = max(others, toNothing)
			case v == 0, v == arch.Addr(slot.First), v == arch.Addr(slot.First)+m.Bias:
				others = max(others, unbound)
			case !slices.Contains(list, v) && r.implements(proc, f, v):
				list = append(list, v)
			}
		}
	}
	return list, others
}

// implements reports whether an address that a word leads to may be a resolver's result. Another
// object may have a function of the same name, and programs have stubs for others' functions.
func (r *Planter) implements(proc *inferior.Process, f *probe.IFunc, at arch.Addr) bool {
	m := proc.ModuleAt(at)
	if m == nil || m.File != f.File && m.Path != "[vdso]" || at == f.At {
		return false
	}
	if _, ok := m.File.Starting(at - m.Bias); ok {
		return true
	}
	_, inside := m.File.FunctionAt(at - m.Bias)
	return !inside
}

// implementation returns the targets of a probe in a function that implements an IFUNC, but for
// those where the probe is, or is planned to be.
func (r *Planter) implementation(p *probe.Probe, proc *inferior.Process, planned []probe.Target, sp probe.Target, at arch.Addr) (spots []probe.Target) {
	m := proc.ModuleAt(at)
	if m == nil { // the program has made the code as it runs
		spots = []probe.Target{{Place: probe.Place{Addr: at, Name: sp.Name, Point: p.Points()[0], Top: true, Begins: at}}}
	}
	for _, point := range p.Points() {
		if m == nil {
			break
		}
		targets, err := p.Targets(point).Implementation(m.File, r.isa, at-m.Bias, sp.Shown)
		if err != nil {
			pl := sp.Placement(p, proc)
			pl.Err = err
			r.place(pl)
			return nil
		}
		for i := range targets {
			if is, ok := r.find.TargetSpot(p, m, &targets[i]); ok {
				is.Name = sp.Binary + targets[i].Name // the name that the user has asked for
				is.Point, is.Second = point, point != p.Points()[0]
				spots = append(spots, is)
			}
		}
	}
	return slices.DeleteFunc(spots, func(sp probe.Target) bool {
		return slices.ContainsFunc(planned, func(o probe.Target) bool { return o.Addr == sp.Addr && o.Point == sp.Point }) ||
			slices.ContainsFunc(p.Places, func(pl *probe.Placement) bool {
				return pl.Proc == proc && pl.Addr == sp.Addr && pl.Point == sp.Point && pl.Live()
			})
	})
}

// resolved returns the hook at a resolver's returns. It plants probes in the function that the
// resolver returns before the program can call it.
func (r *Planter) resolved(f *probe.IFunc) probe.Hook {
	return func(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
		at := arch.Addr(r.isa.Result(&t.View))
		wanted := func(p *probe.Probe) bool { return !p.Gone && r.covers(p, t.Process) && !p.IsAt(t.Process, at) }
		if at == 0 || t.Process.Silent || !slices.ContainsFunc(f.Probes, wanted) {
			return false, nil
		}
		t.SetPC(site.Resume)
		if err := r.loop.Halt(t); err != nil {
			return true, err
		}
		for _, p := range slices.Clone(f.Probes) {
			if wanted(p) && r.loop.Procs[t.Process.PID] == t.Process {
				r.plantChosen(p, t.Process, f, at)
			}
		}
		return true, r.loop.Unhalt(t)
	}
}

// plantChosen plants a probe in the function that a resolver has returned.
func (r *Planter) plantChosen(p *probe.Probe, proc *inferior.Process, f *probe.IFunc, at arch.Addr) {
	m := proc.ModuleAt(f.At)
	if m == nil {
		return
	}
	all, err := r.find.ModuleSpots(p, m)
	if err != nil {
		return
	}
	p.Places = slices.DeleteFunc(p.Places, func(pl *probe.Placement) bool { return pl.Proc == proc && pl.Waits == f })
	var spots []probe.Target
	for _, sp := range all {
		if sp.IFunc == f {
			spots = append(spots, r.implementation(p, proc, spots, sp, at)...)
		}
	}
	if len(spots) == 0 {
		return
	}
	if err := cmp.Or(r.plantSpots(p, proc, spots), r.JumpAgain(proc)); err != nil && !ptrace.IsGone(err) {
		r.loop.Warn(proc, "%s: %v", p.Spec.Location, err)
	}
}
