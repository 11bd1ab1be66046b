package breakpoint

import (
	"bytes"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A trampoline is the code that a site's jump leads to: code that handles the hit, then the
// displaced instructions, and a jump back. It lies in cells of an area. The site was a trap before:
// its own cell has the slot of that trap, and the data that undoes the jump.
//
// Sites that one jump displaces, such as both ends of a short function, share the trampoline. The
// cell of the first records how to undo the jump.
type trampoline struct {
	sites   []*Site
	hits    []int // where the code for each one's hit begins, from addr
	area    *area
	cell, n int // in area
	addr    arch.Addr
	from    arch.Addr // of the jump: the site's, or a little before it
	code    []byte    // the program's bytes from there on, at least the jump's
	patch   []byte    // the jump
	lens    []uint8   // of the displaced instructions
	slot    arch.Slot // of the displaced instructions; Offs from addr
	veneer  arch.Addr // of a pun: where its jump leads first
	*leans            // of a pun; else leansOnNothing
}

// leans are what a pun leans on.
type leans struct {
	shared []byte      // the jump's bytes behind its patch, as in memory
	strays []arch.Addr // where the jump leads while another tool's trap is in shared
	led    []arch.Addr // its veneers that replace those of another trampoline
}

// leansOnNothing is shared by all trampolines of jumps that are not puns.
var leansOnNothing leans

// end is the address behind the last displaced instruction.
func (r *trampoline) end() arch.Addr {
	end := r.from
	for _, n := range r.lens {
		end += arch.Addr(n)
	}
	return end
}

// inUse reports whether any site's jump leads to the trampoline.
func (r *trampoline) inUse() bool {
	return slices.ContainsFunc(r.sites, func(s *Site) bool { return s.trampoline == r })
}

// behind is the end of the jump and of the code that it displaces.
func (r *trampoline) behind(jump int) arch.Addr {
	return max(r.end(), r.from+arch.Addr(max(jump, len(r.patch))))
}

// trapped is the code under the jump while its sites are traps.
func (r *trampoline) trapped() []byte {
	b := bytes.Clone(r.code[:len(r.patch)])
	for _, s := range r.sites {
		if at := int(s.Addr - r.from); at < len(b) {
			copy(b[at:], s.patch)
		}
	}
	return b
}

// locate is Table.Locate in a trampoline. A task in code that still has to handle a hit is shown at
// the site.
func (r *trampoline) locate(pc arch.Addr) (arch.Fix, *Site, bool) {
	i, ok := slices.BinarySearchFunc(r.slot.Fixes, int(pc-r.addr), func(f arch.Fix, off int) int { return f.Off - off })
	if !ok {
		return arch.Fix{}, r.sites[0], false
	}
	return r.slot.Fixes[i], r.sites[0], true
}

// in is the trampoline in a copy of its area, for copies of its sites.
func (r *trampoline) in(a *area) *trampoline {
	c := *r
	c.area, c.sites = a, make([]*Site, len(r.sites))
	for k := c.cell; k < c.cell+c.n; k++ {
		a.trampolines[k] = &c
	}
	return &c
}
