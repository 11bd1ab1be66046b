package breakpoint

import (
	"slices"
	"sort"

	"github.com/ptracer/ptracer/arch"
)

// index finds the sites of a space by their addresses.
type index struct {
	isa    arch.ISA
	sites  map[arch.Addr]*Site
	gone   map[arch.Addr]bool // former sites: a trap from one may still be reported
	sorted []*Site            // by address; nil when out of date
	jumps  int                // sites armed by a jump
	old    []*trampoline      // trampolines that no jump leads to any more; a task may be inside
}

// At is the site at addr, or nil.
func (t *index) At(addr arch.Addr) *Site { return t.sites[addr] }

// Was reports whether addr was a site. A trap from there that is reported late is ptracer's, and
// the task continues at addr.
func (t *index) Was(addr arch.Addr) bool { return t.gone[addr] }

// Len is the number of sites.
func (t *index) Len() int { return len(t.sites) }

// Sites lists all sites by address. The slice is the table's own.
func (t *index) Sites() []*Site {
	if t.sorted == nil && len(t.sites) > 0 {
		for _, s := range t.sites {
			t.sorted = append(t.sorted, s)
		}
		slices.SortFunc(t.sorted, func(a, b *Site) int { return cmpAddr(a.Addr, b.Addr) })
	}
	return t.sorted
}

// overlapping lists the armed sites with a patch that may lie in [addr, addr+n).
func (t *index) overlapping(addr arch.Addr, n int) []*Site {
	all, size, back := t.Sites(), arch.Addr(len(t.isa.Trap())), arch.Addr(0)
	if t.jumps > 0 {
		size, back = arch.Addr(t.isa.MaxJump()), MaxBack
	}
	from := sort.Search(len(all), func(i int) bool { return all[i].Addr+size > addr })
	to := sort.Search(len(all), func(i int) bool { return all[i].Addr >= addr+arch.Addr(n)+back })
	if from >= to {
		return nil
	}
	return all[from:to]
}

// Within lists the sites in [from, to), by address.
func (t *index) Within(from, to arch.Addr) (list []*Site) {
	for a := from; a < to; a++ {
		if s := t.sites[a]; s != nil {
			list = append(list, s)
		}
	}
	return list
}

// JumpsOver lists the sites with a jump that covers, or displaces, any of n bytes at addr.
func (t *index) JumpsOver(addr arch.Addr, n int) (list []*Site) {
	if t.jumps == 0 {
		return nil
	}
	back := t.isa.MaxJump() - 1 + t.isa.MaxInst()
	for a := addr - arch.Addr(back); a < addr+arch.Addr(n+MaxBack); a++ {
		if s := t.sites[a]; s != nil && s.trampoline != nil && s.trampoline.from < addr+arch.Addr(n) && s.trampoline.behind(t.isa.JumpLen()) > addr {
			list = append(list, s)
		}
	}
	return list
}

// AnyJump reports whether any site is armed by a jump.
func (t *index) AnyJump() bool { return t.jumps > 0 }

func (t *index) behindPad(pc arch.Addr) bool {
	s := t.sites[pc-arch.Addr(t.isa.MaxJump()-t.isa.JumpLen())]
	return s != nil && s.trampoline != nil && s.trampoline.from == s.Addr && len(s.trampoline.patch) > t.isa.JumpLen()
}
