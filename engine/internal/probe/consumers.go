package probe

import (
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/internal/inproc"
)

// Consumers are the placements that a site serves. They are the site's Tag.
type Consumers struct {
	List  []*Placement
	Plain bool // all placements only count, without a handler or an exit's test
	// Shared is the counter behind the site's jump that a new placement shares with those that are
	// there; nil if there is none to share.
	Shared *inproc.Tally
	// Faulted says that the site's jump displaced an instruction behind the first that has faulted:
	// the site stays a trap.
	Faulted bool
}

// Of returns the consumers of a site. The site must have been inserted, which gives it a Tag.
func Of(site *breakpoint.Site) *Consumers { return site.Tag.(*Consumers) }

// Add adds a placement to the site.
func (g *Consumers) Add(p *Placement) {
	g.List = append(g.List, p)
	g.mark()
}

// mark computes Plain anew.
func (g *Consumers) mark() {
	g.Plain = true
	for _, p := range g.List {
		if p.Hook != nil || p.Exit != nil || p.Probe.Gone || p.Probe.Spec.Action != api.ActionCount || p.Probe.Handler != nil {
			g.Plain = false
		}
	}
}

// Drop takes a placement off the site. It makes a new list, because a loop may be walking the old
// one. A site that has been removed keeps its Consumers, with an empty list.
func (g *Consumers) Drop(p *Placement) {
	var rest []*Placement
	for _, q := range g.List {
		if q != p {
			rest = append(rest, q)
		}
	}
	g.List = rest
	g.mark()
}

// GateOf returns the placement of a gate at a site, or nil.
func GateOf(site *breakpoint.Site) *Placement {
	g, ok := site.Tag.(*Consumers)
	if !ok {
		return nil
	}
	list := g.List
	if i := slices.IndexFunc(list, func(pl *Placement) bool { return pl.Behind != 0 }); i >= 0 {
		return list[i]
	}
	return nil
}
