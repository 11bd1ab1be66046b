package breakpoint

import (
	"bytes"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A run is where the jump of a site leads: code that does what is to be done at
// a hit, then the displaced instructions, and a jump back. It lies in cells of
// an area. A site that jumps has been served as a trap before: its own cell has
// the slot of that, and what it takes to undo the jump.
//
// Sites that lie in what one jump displaces, as both ends of a short function, share
// the run. The first has in its cell how to undo the jump.
type run struct {
	sites   []*Site
	hits    []int // where what is done at each one's hit begins, from addr
	area    *area
	cell, n int // in area
	addr    arch.Addr
	from    arch.Addr // of the jump: the site's, or a little before it
	code    []byte    // the program's bytes from there on, at least the jump's
	patch   []byte    // the jump
	lens    []uint8   // of the instructions that it displaces
	slot    arch.Slot // of the displaced instructions; Offs from addr
	veneer  arch.Addr // of a pun: where its jump leads first
	*leans            // of a pun; else leansOnNothing
}

// leans are what a pun leans on.
type leans struct {
	shared []byte      // the jump's bytes behind its patch, as they are in memory
	strays []arch.Addr // where its jump leads while another tool's trap is in those
	led    []arch.Addr // its veneers that lie where another run's did
}

// leansOnNothing is shared by all runs of jumps that are no puns.
var leansOnNothing leans

// end is behind the last instruction that is displaced.
func (r *run) end() arch.Addr {
	end := r.from
	for _, n := range r.lens {
		end += arch.Addr(n)
	}
	return end
}

// inUse is whether any site's jump leads to it.
func (r *run) inUse() bool {
	return slices.ContainsFunc(r.sites, func(s *Site) bool { return s.run == r })
}

// behind is where the jump and what it displaces end.
func (r *run) behind(jump int) arch.Addr {
	return max(r.end(), r.from+arch.Addr(max(jump, len(r.patch))))
}

// trapped is what lies under the jump while its sites are traps.
func (r *run) trapped() []byte {
	b := bytes.Clone(r.code[:len(r.patch)])
	for _, s := range r.sites {
		if at := int(s.Addr - r.from); at < len(b) {
			copy(b[at:], s.patch)
		}
	}
	return b
}

// locate is Table.Locate in a run. Where what is done at a hit is not done yet,
// there is nothing to show.
func (r *run) locate(pc arch.Addr) (arch.Fix, *Site, bool) {
	i, ok := slices.BinarySearchFunc(r.slot.Fixes, int(pc-r.addr), func(f arch.Fix, off int) int { return f.Off - off })
	if !ok {
		return arch.Fix{}, r.sites[0], false
	}
	return r.slot.Fixes[i], r.sites[0], true
}

// in is the run in a copy of its area, for copies of its sites.
func (r *run) in(a *area) *run {
	c := *r
	c.area, c.sites = a, make([]*Site, len(r.sites))
	for k := c.cell; k < c.cell+c.n; k++ {
		a.runs[k] = &c
	}
	return &c
}
