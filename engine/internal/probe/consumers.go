package probe

import (
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/internal/inproc"
)

// Consumers is what a site serves: its Site.Tag.
type Consumers struct {
	List  []*Placement
	Plain bool // all of them only count
	// Shared is the counter that a placement shares with those that are there, nil:
	// none.
	Shared *inproc.Tally
	// Faulted: an instruction behind the first has faulted, that a jump displaced.
	Faulted bool
}

// Of are the consumers of a site that has been inserted.
func Of(site *breakpoint.Site) *Consumers { return site.Tag.(*Consumers) }

// Add adds a placement.
func (g *Consumers) Add(p *Placement) {
	g.List = append(g.List, p)
	g.mark()
}

func (g *Consumers) mark() {
	g.Plain = true
	for _, p := range g.List {
		if p.Hook != nil || p.Exit != nil || p.Probe.Gone || p.Probe.Spec.Action != api.ActionCount || p.Probe.Handler != nil {
			g.Plain = false
		}
	}
}

// Drop takes a placement out of a new list: a loop may be walking the old one.
// Sites that are gone keep their consumers, which are none then.
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

// GateOf is the placement of a gate at a site, if one is there.
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
