package breakpoint

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// Table is the sites of one address space.
type Table struct {
	isa arch.ISA
	puns
	index
	buf arch.Buffer
	// planned has what unarmed jumps displace, and the bytes they lie on.
	planned addrSet
	plans   int // how many jumps those are
}

// New returns an empty table.
func New(isa arch.ISA, mem Memory, mapper Mapper) *Table {
	return &Table{isa: isa, planned: addrSet{},
		puns:  puns{room: room{isa: isa, mem: mem, mapper: mapper}, veneers: map[arch.Addr]*trampoline{}},
		index: index{isa: isa, sites: map[arch.Addr]*Site{}, gone: map[arch.Addr]bool{}}}
}

// Retired is how many slots of removed sites, and how many jumps' code, wait for Sweep.
func (t *index) Retired() int { return len(t.gone) + len(t.old) }

func cmpAddr(a, b arch.Addr) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Clone returns the table of a space that is a copy of this one (fork).
func (t *Table) Clone(mem Memory, mapper Mapper) *Table {
	c := New(t.isa, mem, mapper)
	c.guard, c.libs = t.guard, slices.Clone(t.libs)
	for _, a := range t.areas {
		d := *a
		d.free = slices.Clone(a.free)
		d.sites, d.trampolines, d.spare = make([]*Site, a.n), make([]*trampoline, a.n), map[int][]int{}
		for n, list := range a.spare {
			d.spare[n] = slices.Clone(list)
		}
		c.areas = append(c.areas, &d)
	}
	trampolines := map[*trampoline]*trampoline{}
	for addr, s := range t.sites {
		d := *s
		d.Tag = nil
		if s.area != nil {
			d.area = c.areas[slices.Index(t.areas, s.area)]
			d.area.sites[d.cell] = &d
		}
		if s.trampoline != nil {
			if trampolines[s.trampoline] == nil {
				trampolines[s.trampoline] = s.trampoline.in(c.areas[slices.Index(t.areas, s.trampoline.area)])
			}
			d.trampoline = trampolines[s.trampoline]
			d.trampoline.sites[slices.Index(s.trampoline.sites, s)] = &d
		}
		c.sites[addr] = &d
	}
	for at, r := range t.veneers {
		if trampolines[r] != nil {
			c.veneers[at] = trampolines[r]
		}
	}
	c.jumps = t.jumps
	for addr := range t.gone {
		c.gone[addr] = true
	}
	return c
}
