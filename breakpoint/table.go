package breakpoint

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// Table is the sites of one address space.
type Table struct {
	isa    arch.ISA
	mem    Memory
	mapper Mapper
	sites  map[arch.Addr]*Site
	gone   map[arch.Addr]bool // was a site: a trap from there may still be on its way
	sorted []*Site            // by address; nil when out of date
	areas  []*area            // areas[0] is the base
	guard  arch.Addr          // guard header in the base
	buf    arch.Buffer
	jumps  int    // sites armed by a jump
	old    []*run // that no jump leads to any more; a task may be inside
	libs   []library
	// veneers are what puns lead to, by where they lie; in libs, too.
	veneers map[arch.Addr]*run
	// planned is what jumps displace that are not armed yet, and what they lie on.
	planned addrSet
	plans   int // how many jumps those are
	staged  staged
	page    []byte // of the program's code, at an exchange
}

// New makes an empty table.
func New(isa arch.ISA, mem Memory, mapper Mapper) *Table {
	return &Table{isa: isa, mem: mem, mapper: mapper, sites: map[arch.Addr]*Site{}, gone: map[arch.Addr]bool{}, veneers: map[arch.Addr]*run{}, planned: addrSet{}}
}

// At is the site at addr, or nil.
func (t *Table) At(addr arch.Addr) *Site { return t.sites[addr] }

// Was says whether addr has been a site: a trap from there that is still on
// its way is ours, and the task has to go back to addr.
func (t *Table) Was(addr arch.Addr) bool { return t.gone[addr] }

// Retired is how many removed sites' slots, and how many jumps' code, wait for Sweep.
func (t *Table) Retired() int { return len(t.gone) + len(t.old) }

// Len is the number of sites.
func (t *Table) Len() int { return len(t.sites) }

// Sites lists all sites by address. The slice is the table's own.
func (t *Table) Sites() []*Site {
	if t.sorted == nil && len(t.sites) > 0 {
		for _, s := range t.sites {
			t.sorted = append(t.sorted, s)
		}
		slices.SortFunc(t.sorted, func(a, b *Site) int { return cmpAddr(a.Addr, b.Addr) })
	}
	return t.sorted
}

func cmpAddr(a, b arch.Addr) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Prepared says whether the base area with the guard is there.
func (t *Table) Prepared() bool { return len(t.areas) > 0 }

// Prepare maps the base area near an address, with the guard in it, and room
// for at least n sites. It must have happened before the first Insert, and the
// guard be installed.
func (t *Table) Prepare(near arch.Addr, n int) error {
	if t.Prepared() {
		return nil
	}
	g := t.isa.Guard()
	prefix := roundUp(g.Header+arch.GuardSize, 64) + stubRoom
	a, err := t.mapArea(near, prefix, n)
	if err != nil {
		return err
	}
	t.guard = a.addr + headSize + arch.Addr(g.Header)
	return t.adopt(a, g.Code)
}

// GuardHandler is the address of the guard's entry and of its restorer.
func (t *Table) GuardHandler() (handler, restorer arch.Addr) {
	g, base := t.isa.Guard(), t.areas[0].addr+headSize
	return base + arch.Addr(g.Handler), base + arch.Addr(g.Restorer)
}

// GuardHeader is the address of the guard's header (arch.GuardFirst ...).
func (t *Table) GuardHeader() arch.Addr { return t.guard }

// Stub is the address of the room for system call stubs in the base area, and
// its size.
func (t *Table) Stub() (arch.Addr, int) {
	g := t.isa.Guard()
	return t.areas[0].addr + headSize + arch.Addr(roundUp(g.Header+arch.GuardSize, 64)), stubRoom
}

func (t *Table) mapArea(near arch.Addr, prefix, n int) (*area, error) {
	n = min(max(n, minCells), maxCells/2)
	size := sizeOf(prefix, n)
	addr, err := t.mapper.Map(near, size)
	if err != nil {
		return nil, fmt.Errorf("room for slots near %s: %w", near, err)
	}
	// What rounding left over becomes cells.
	for sizeOf(prefix, n+1) == size {
		n++
	}
	return layout(addr, prefix, n), nil
}

// adopt writes an area's header and chunk and puts it into the guard's list. The header is
// the first that is written, in one with the guard's code in the base: the next
// tracer, after a death of this one, finds the area by it, or untouched.
func (t *Table) adopt(a *area, guard []byte) error {
	var next [16]byte
	if len(t.areas) > 0 {
		if err := t.mem.Read(t.guard+arch.GuardFirst, next[:8]); err != nil {
			return err
		}
	}
	binary.LittleEndian.PutUint64(next[arch.ChunkCount:], uint64(a.n))
	head := arch.Addr(0)
	if len(t.areas) == 0 {
		head = t.guard
	}
	if err := t.mem.Write(a.addr, append(a.header(head), guard...)); err != nil {
		return err
	}
	if err := t.mem.Write(a.index, next[:]); err != nil {
		return err
	}
	if err := t.putWord(t.guard+arch.GuardFirst, uint64(a.index)); err != nil {
		return err
	}
	t.areas = append(t.areas, a)
	return nil
}

func (t *Table) putWord(addr arch.Addr, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return t.mem.Write(addr, b[:])
}

// reach is how far a slot may be from its site: half of what a direct jump
// can, so that targets on both sides of the site are reached too.
func (t *Table) reach() int64 {
	if t.isa.MinInst() == 4 {
		return 120 << 20
	}
	return 1 << 30
}

// areaFor finds or maps an area within reach of addr with a free cell; more
// is how many cells are about to be asked for there.
func (t *Table) areaFor(addr arch.Addr, more int) (*area, error) {
	return t.areaWith(addr, 1, more)
}

// areaWith does the same for n cells in a row.
func (t *Table) areaWith(addr arch.Addr, n, more int) (*area, error) {
	for _, a := range t.areas {
		d := int64(a.addr) - int64(addr)
		if a.room(n) && d < t.reach() && -d < t.reach() {
			return a, nil
		}
	}
	a, err := t.mapArea(addr, 0, more)
	if err != nil {
		return nil, err
	}
	return a, t.adopt(a, nil)
}

// Areas lists our mappings: address and size.
func (t *Table) Areas() (addrs []arch.Addr, sizes []int) {
	for _, a := range t.areas {
		addrs, sizes = append(addrs, a.addr), append(sizes, a.size)
	}
	for _, l := range t.libs {
		addrs, sizes = append(addrs, l.addr), append(sizes, l.size)
	}
	return addrs, sizes
}

// InArea says whether pc lies in a mapping of ours.
func (t *Table) InArea(pc arch.Addr) bool {
	for _, a := range t.areas {
		if a.contains(pc) {
			return true
		}
	}
	return t.inLibrary(pc)
}

func (t *Table) inLibrary(pc arch.Addr) bool {
	return slices.ContainsFunc(t.libs, func(l library) bool { return l.contains(pc) })
}

// Clone is the table of a space that is a copy of this one (fork).
func (t *Table) Clone(mem Memory, mapper Mapper) *Table {
	c := New(t.isa, mem, mapper)
	c.guard, c.libs = t.guard, slices.Clone(t.libs)
	for _, a := range t.areas {
		d := *a
		d.free = slices.Clone(a.free)
		d.sites, d.runs, d.spare = make([]*Site, a.n), make([]*run, a.n), map[int][]int{}
		for n, list := range a.spare {
			d.spare[n] = slices.Clone(list)
		}
		c.areas = append(c.areas, &d)
	}
	runs := map[*run]*run{}
	for addr, s := range t.sites {
		d := *s
		d.Tag = nil
		if s.area != nil {
			d.area = c.areas[slices.Index(t.areas, s.area)]
			d.area.sites[d.cell] = &d
		}
		if s.run != nil {
			if runs[s.run] == nil {
				runs[s.run] = s.run.in(c.areas[slices.Index(t.areas, s.run.area)])
			}
			d.run = runs[s.run]
			d.run.sites[slices.Index(s.run.sites, s)] = &d
		}
		c.sites[addr] = &d
	}
	for at, r := range t.veneers {
		if runs[r] != nil {
			c.veneers[at] = runs[r]
		}
	}
	c.jumps = t.jumps
	for addr := range t.gone {
		c.gone[addr] = true
	}
	return c
}
