package plant

import (
	"path/filepath"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// What an object has that can't be read is not known: a probe whose location may be in there
// has a place that failed, with the reason, rather than none.

// NoteUnread has probes know which objects of a process could not be read when it was looked for
// them last, and which can be, or have gone, that could not.
func (r *Planter) NoteUnread(proc *inferior.Process, fresh, over []*objfile.UnreadError) {
	for _, p := range r.Probes {
		p.Places = slices.DeleteFunc(p.Places, func(pl *probe.Placement) bool {
			return pl.Proc == proc && slices.ContainsFunc(over, func(u *objfile.UnreadError) bool { return pl.Err == error(u) })
		})
	}
	if proc.Silent {
		return
	}
	for _, p := range r.Probes {
		r.PlaceUnread(p, proc, fresh)
	}
	for _, u := range fresh {
		switch {
		case u.IsLoader():
			r.loop.Warn(proc, "libraries loaded later will not be seen: %v", u)
		case !u.Deleted && slices.ContainsFunc(r.Probes, func(p *probe.Probe) bool { return p.Loc.Binary == "" && !p.Found && !p.Gone }):
			r.loop.Warn(proc, "what is in there will not be found: %v", u)
		}
	}
}

// PlaceUnread gives a probe a failed place for each object that its location may mean.
func (r *Planter) PlaceUnread(p *probe.Probe, proc *inferior.Process, unread []*objfile.UnreadError) {
	if p.Gone || proc.Silent || !r.covers(p, proc) {
		return
	}
	for _, u := range unread {
		if mayMean(p, proc, u) {
			r.place(&probe.Placement{Probe: p, Proc: proc, Place: probe.Place{Name: nameIn(p, u.Path)}, Err: u})
		}
	}
}

// mayMean is whether a probe's location may be in an object that could not be read, or in one that
// comes unseen because that is the loader. Where a location names no object, or many, what has no name
// any more is mostly no object at all.
func mayMean(p *probe.Probe, proc *inferior.Process, u *objfile.UnreadError) bool {
	switch {
	case p.Loc.HasAddress && p.Loc.Binary == "":
		return false
	case u.IsLoader() && !p.Found:
		return p.Loc.Binary == "" || p.Loc.IsGlob() ||
			!slices.ContainsFunc(proc.Objects(), func(m *symbols.Module) bool { return p.Loc.MatchesBinary(*m) })
	case p.Loc.Binary == "":
		return !p.Found && !p.Spec.Pending && !u.Deleted
	case u.Path == "":
		return !p.Found
	}
	return !(u.Deleted && p.Loc.IsGlob()) && p.Loc.MatchesBinary(symbols.Module{Path: u.Path})
}

// nameIn is a probe's location with the name of one object.
func nameIn(p *probe.Probe, path string) string {
	switch {
	case p.Loc.Binary == "":
		return filepath.Base(path) + ":" + p.Spec.Location
	case p.Loc.HasAddress || path == "":
		return p.Spec.Location
	}
	return filepath.Base(path) + ":" + p.Loc.Function
}
