package tally

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols/location"
)

// Place is a place of a process, which several probes may be at.
type Place struct {
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

// Distinct gives each place once, in the order in which probes name them. All probes at
// a place count the same hits, each in its own number; those of one probe that are at
// one spot are of objects that were loaded there one after the other.
func Distinct(places []engine.Placement, named func(*engine.Placement) bool) (list []Place) {
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
			list = append(list, Place{Placement: *p, named: named(p)})
			continue
		}
		list[index[at][n]].merge(p, named(p))
	}
	return list
}

// merge adds what another probe knows of a place.
func (o *Place) merge(p *engine.Placement, named bool) {
	switch {
	case o.Err != nil && p.Err == nil:
		was := *o
		*o = Place{Placement: *p, named: named}
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

// IsNamed is whether a location names its places, and is no pattern.
func IsNamed(text string) bool {
	loc, err := location.Parse(text)
	return err == nil && !loc.IsPattern()
}

// NamesOf gives the name of each location's places, as those of a job (job.PlaceNames) are.
func NamesOf(locations []string, places []engine.Placement) map[string]string {
	of := map[string][]string{}
	for _, pl := range places {
		l := locations[pl.Probe-1]
		of[l] = append(of[l], pl.Name)
	}
	names := map[string]string{}
	for _, l := range locations {
		names[l] = l
		if loc, err := location.Parse(l); err == nil {
			names[l] = cmp.Or(loc.PlaceName(of[l]), l)
		}
	}
	return names
}

// GapsOf says of which places not all hits could be counted, a line for each reason.
func GapsOf(places []engine.Placement) (lines []string) {
	type place struct {
		pid       int
		name, gap string
	}
	count, first, seen := map[string]int{}, map[string]string{}, map[place]bool{}
	var order []string
	for _, p := range places {
		at := place{p.PID, p.Name, p.Gap}
		if p.Err != nil || p.Gap == "" || seen[at] { // it was planted there more than once
			continue
		}
		seen[at] = true
		if count[p.Gap] == 0 {
			order = append(order, p.Gap)
			first[p.Gap] = p.Name
		}
		count[p.Gap]++
	}
	for _, why := range order {
		lines = append(lines, fmt.Sprintf("%s not fully counted: %s (first %s)", show.Plural(count[why], "place"), why, first[why]))
	}
	return lines
}
