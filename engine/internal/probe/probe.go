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
	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
)

// Probe is what a tracer asked for, with all its placements.
type Probe struct {
	ID      event.ProbeID
	Spec    api.ProbeSpec
	For     any             // the client that it is for; nil: the session's own
	Handler *inproc.Handler // Spec.Handler; nil: none
	Loc     location.Location
	Places  []*Placement
	Gone    bool // it has been unregistered
	Found   bool // its location has been found in some process
	Told    bool // the user has been warned that events lack arguments
	Spots   map[*symbols.File]Found
	Ahead   map[*symbols.File][]location.Target // targets that were found before the request (engine: lookAhead)
	// Meanings are what the expressions of the handler mean at places of files (package find).
	Meanings map[MeaningAt]*Meaning
	unhit    map[unhit]bool // the kinds of places without a hit of which one is kept: see Spare
}

// MeaningAt is a place of a file: at the entry of a function, an exit, or inside (scope.Point).
type MeaningAt struct {
	File  *symbols.File
	Addr  arch.Addr
	Point uint8
}

// Meaning is what the expressions of a handler mean at a place, or why they mean nothing.
type Meaning struct {
	Fields [][]value.Field // of each expression
	Errs   []error
	Shown  bool // the fields are shown: one without a value may stand beside others
}

// Asks reports whether a probe has to know the calling convention of the function at its location.
// A probe that waits for an access to data does not: the access may be anywhere in a function.
func (p *Probe) Asks() bool {
	return p.Spec.Watch == api.AccessExecute && (p.Handler != nil || len(p.Spec.Args) > 0 || p.Spec.Action == api.ActionCall || p.Spec.Action == api.ActionStop)
}

// Covers reports whether a spec is for a process. The spec may name a process or except it; what it
// says of the nearest ancestor counts, the process itself first.
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

// IsAt reports whether a probe is at the entry of the function that begins at an address of a
// process.
func (p *Probe) IsAt(proc *inferior.Process, at arch.Addr) bool {
	return slices.ContainsFunc(p.Places, func(pl *Placement) bool {
		return pl.Proc == proc && pl.Begins == at && pl.Live()
	})
}

// MayJump reports whether a probe's sites may be jumps. Other probes at a site may forbid it.
func (p *Probe) MayJump() bool {
	spec := &p.Spec
	return spec.Rung == breakpoint.Jump ||
		spec.Rung == breakpoint.Auto && spec.Action == api.ActionCount && (p.Handler == nil || p.Handler.Native)
}

// Sites returns the sites of a probe by process, each once.
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

// unhit tells apart the placements without a hit of which one is worth keeping.
type unhit struct {
	name   string
	failed bool
}

// Spare reports whether a placement without a hit can be forgotten when its process has ended. A
// build has hundreds of processes with thousands of such placements each. One of each name is kept,
// and all where the location names one function.
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

// DebugServes reports whether a debug register may serve a target that could not be planted for the
// reason why. If the kernel has refused the patch, this holds only where the spec leaves the method
// open.
func (p *Probe) DebugServes(why error) bool {
	return errors.Is(why, breakpoint.ErrForeign) ||
		errors.Is(why, breakpoint.ErrRefused) && p.Spec.Rung == breakpoint.Auto && !ptrace.IsGone(why)
}

// Points returns the points at which a probe's programs run, in the order in which a call comes to
// them. A probe without a handler has one, its location as it was given.
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

// Targets returns the location at which the program of a point runs.
func (p *Probe) Targets(at build.Point) location.Location {
	loc := p.Loc
	loc.Return = loc.Return || at == build.Exit
	return loc
}

// StopCounting ends a probe's counting at traps. The result of a handler in the kernel is read now,
// because its uprobes are taken away later.
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
