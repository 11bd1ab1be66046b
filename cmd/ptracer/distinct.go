package main

import (
	"cmp"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// onePlace is a place of a process, which several probes may be at.
type onePlace struct {
	engine.Placement
	named bool     // a probe names it, not only a glob
	also  []string // further names that probes give it
}

// spotOf is what makes a place one: where it is in which address space, and whether it
// is an exit, which may be one at some hits only.
type spotOf struct {
	pid, space int
	addr       arch.Addr
	exit       bool
}

// distinct gives each place once, in the order in which probes name them. All probes at
// a place count the same hits, each in its own number; those of one probe that are at
// one spot are of objects that were loaded there one after the other.
func distinct(places []engine.Placement, named func(*engine.Placement) bool) (list []onePlace) {
	index := map[spotOf][]int{} // in list, in the order of the objects
	seen := map[spotOf]int{}    // placements of the present probe
	var probe event.ProbeID
	for i := range places {
		p := &places[i]
		if p.Probe != probe {
			probe = p.Probe
			clear(seen)
		}
		at := spotOf{p.PID, p.Space, p.Addr, p.Exit}
		n := seen[at]
		seen[at]++
		if n == len(index[at]) {
			index[at] = append(index[at], len(list))
			list = append(list, onePlace{Placement: *p, named: named(p)})
			continue
		}
		list[index[at][n]].merge(p, named(p))
	}
	return list
}

// merge adds what another probe knows of a place.
func (o *onePlace) merge(p *engine.Placement, named bool) {
	switch {
	case o.Err != nil && p.Err == nil:
		was := *o
		*o = onePlace{Placement: *p, named: named}
		if was.named && was.Name != p.Name {
			o.also = append(o.also, was.Name)
		}
		return
	case p.Err == nil:
		o.Hits, o.Gap = max(o.Hits, p.Hits), cmp.Or(o.Gap, p.Gap)
	}
	switch {
	case named && !o.named:
		o.Name, o.named = p.Name, true
	case named && p.Name != o.Name && !slices.Contains(o.also, p.Name):
		o.also = append(o.also, p.Name)
	}
}
