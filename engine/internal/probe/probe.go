package probe

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Probe is what a tracer asked for, and everywhere it is.
type Probe struct {
	ID      event.ProbeID
	Spec    api.ProbeSpec
	Handler *inproc.Handler // the spec's
	Loc     symbols.Location
	Places  []*Placement
	Gone    bool
	Found   bool // its location has been found somewhere
	Told    bool // that events lack arguments
	Spots   map[*symbols.File]Found
	Ahead   map[*symbols.File][]symbols.Target // what lookAhead has found
	unhit   map[unhit]bool                     // of these one is kept, see spare
}

// Asks is whether it matters to a probe how functions are called: what accesses data
// may be anywhere in one.
func (p *Probe) Asks() bool {
	return p.Spec.Watch == api.AccessExecute && (p.Handler != nil || p.Spec.Args > 0 || p.Spec.Action == api.ActionCall || p.Spec.Action == api.ActionStop)
}

// Covers looks for the nearest of a process and those that it descends from of
// which a spec says anything.
func Covers(spec *api.ProbeSpec, proc *inferior.Process) bool {
	for i := len(proc.Ancestors); i >= 0; i-- { // the parent is the last
		pid := proc.PID
		if i < len(proc.Ancestors) {
			pid = proc.Ancestors[i]
		}
		switch {
		case pid == spec.PID:
			return pid == proc.PID || !spec.Alone
		case slices.Contains(spec.Except, pid):
			return false
		}
	}
	return spec.PID == 0
}

// IsAt is whether a probe is at an address of a process.
func (p *Probe) IsAt(proc *inferior.Process, at arch.Addr) bool {
	return slices.ContainsFunc(p.Places, func(pl *Placement) bool {
		return pl.Proc == proc && pl.Begins == at && pl.Live()
	})
}

// MayJump is whether a probe's sites can be jumps, as far as it is concerned.
func (p *Probe) MayJump() bool {
	spec := &p.Spec
	return spec.Rung == breakpoint.Jump ||
		spec.Rung == breakpoint.Auto && spec.Action == api.ActionCount && (p.Handler == nil || p.Handler.Native)
}

// Sites are where a probe is, by process.
func (p *Probe) Sites() map[*inferior.Process][]*breakpoint.Site {
	list, seen := map[*inferior.Process][]*breakpoint.Site{}, map[*breakpoint.Site]bool{}
	for _, pl := range p.Places {
		if pl.Site != nil && !seen[pl.Site] {
			seen[pl.Site] = true
			list[pl.Proc] = append(list[pl.Proc], pl.Site)
		}
	}
	return list
}

// unhit is what is worth to be known of a place that nobody hit.
type unhit struct {
	name   string
	failed bool
}

// Spare is whether an ended process's place that nobody hit need not be kept: a
// build has hundreds of processes, with thousands of such each. Of those of one name
// one is kept, and all where a location names just them.
func (p *Probe) Spare(pl *Placement) bool {
	if !p.Loc.Every && !p.Loc.IsGlob() {
		return false
	}
	u := unhit{pl.Name, pl.Err != nil}
	if p.unhit[u] {
		return true
	}
	if p.unhit == nil {
		p.unhit = map[unhit]bool{}
	}
	p.unhit[u] = true
	return false
}

// DebugServes is whether a debug register may serve what could not be planted for a
// reason. Who asked for a trap or a jump gets no other thing where the kernel refuses it.
func (p *Probe) DebugServes(why error) bool {
	return errors.Is(why, breakpoint.ErrForeign) ||
		errors.Is(why, breakpoint.ErrRefused) && p.Spec.Rung == breakpoint.Auto && !ptrace.IsGone(why)
}

// Points are where a probe's programs run: where it is hit first comes first.
// Of a probe without a handler that is its location, as it was said.
func (p *Probe) Points() []build.Point {
	h := p.Handler
	switch {
	case h == nil || h.In.Exit == nil:
		return []build.Point{build.Entry}
	case h.In.Entry == nil:
		return []build.Point{build.Exit}
	}
	return []build.Point{build.Entry, build.Exit}
}

// Targets is where a probe's location has one of its programs run.
func (p *Probe) Targets(at build.Point) symbols.Location {
	loc := p.Loc
	loc.Return = loc.Return || at == build.Exit
	return loc
}

// StopCounting has a probe count no further at traps. What a
// handler in the kernel has found out is read now: its links are taken away later.
func (p *Probe) StopCounting() {
	p.Gone, p.Spots = true, nil
	for _, pl := range p.Places {
		if pl.Site != nil && pl.Site.Tag != nil {
			Of(pl.Site).mark()
		}
	}
	if h := p.Handler; h != nil && h.Kernel != nil {
		h.KeepResult()
	}
}
