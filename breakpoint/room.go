package breakpoint

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// room is the memory of ptracer's in a space: areas of cells near the code, the guard, libraries.
type room struct {
	isa    arch.ISA
	mem    Memory
	mapper Mapper
	areas  []*area   // areas[0] is the base
	guard  arch.Addr // guard header in the base
	libs   []library
	staged staged
	page   []byte // a copy of a page of the program's code, used in exchange
}

// Prepared reports whether the base area with the guard is mapped.
func (t *room) Prepared() bool { return len(t.areas) > 0 }

// Prepare maps the base area near an address, with the guard in it and room for at least n sites.
// The caller must call it, and install the guard, before the first Insert.
func (t *room) Prepare(near arch.Addr, n int) error {
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
func (t *room) GuardHandler() (handler, restorer arch.Addr) {
	g, base := t.isa.Guard(), t.areas[0].addr+headSize
	return base + arch.Addr(g.Handler), base + arch.Addr(g.Restorer)
}

// GuardHeader is the address of the guard's header (arch.GuardFirst ...).
func (t *room) GuardHeader() arch.Addr { return t.guard }

// Stub is the address of the room for system call stubs in the base area, and
// its size.
func (t *room) Stub() (arch.Addr, int) {
	g := t.isa.Guard()
	return t.areas[0].addr + headSize + arch.Addr(roundUp(g.Header+arch.GuardSize, 64)), stubRoom
}

func (t *room) mapArea(near arch.Addr, prefix, n int) (*area, error) {
	n = min(max(n, minCells), maxCells/2)
	size := sizeOf(prefix, n)
	addr, err := t.mapper.Map(near, size)
	if err != nil {
		return nil, fmt.Errorf("room for slots near %s: %w", near, err)
	}
	// Rounding left room for more cells.
	for sizeOf(prefix, n+1) == size {
		n++
	}
	return layout(addr, prefix, n), nil
}

// adopt writes an area's header and chunk and puts it into the guard's list. The header is the
// first that is written, in the base together with the guard's code: if this tracer dies, the next
// one finds the area by its header, or finds it untouched.
func (t *room) adopt(a *area, guard []byte) error {
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

func (t *room) putWord(addr arch.Addr, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return t.mem.Write(addr, b[:])
}

// reach is how far a slot may be from its site, in bytes: half the range of a direct jump, so that
// targets on both sides of the site can be reached too.
func (t *room) reach() int64 {
	if t.isa.MinInst() == 4 {
		return 120 << 20
	}
	return 1 << 30
}

// areaFor finds or maps an area within reach of addr with a free cell; more is how many cells will
// be needed there soon.
func (t *room) areaFor(addr arch.Addr, more int) (*area, error) {
	return t.areaWith(addr, 1, more)
}

// areaWith does the same for n cells in a row.
func (t *room) areaWith(addr arch.Addr, n, more int) (*area, error) {
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

// Areas lists ptracer's mappings: address and size in bytes.
func (t *room) Areas() (addrs []arch.Addr, sizes []int) {
	for _, a := range t.areas {
		addrs, sizes = append(addrs, a.addr), append(sizes, a.size)
	}
	for _, l := range t.libs {
		addrs, sizes = append(addrs, l.addr), append(sizes, l.size)
	}
	return addrs, sizes
}

// InArea reports whether pc lies in a mapping of ptracer's.
func (t *room) InArea(pc arch.Addr) bool {
	for _, a := range t.areas {
		if a.contains(pc) {
			return true
		}
	}
	return t.inLibrary(pc)
}

func (t *room) inLibrary(pc arch.Addr) bool {
	return slices.ContainsFunc(t.libs, func(l library) bool { return l.contains(pc) })
}
