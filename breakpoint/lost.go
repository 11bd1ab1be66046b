package breakpoint

import (
	"bytes"

	"github.com/ptracer/ptracer/arch"
)

// A program may throw away its own copy of a page of code (madvise, MADV_DONTNEED), map
// it anew, or write it anew: the patches in it are gone, and the kernel does not tell.

// Lost are those of the sites whose patch is not in memory any more, and those that another
// tool has put a trap over: what was there may be executed elsewhere meanwhile.
func (t *Table) Lost(sites []*Site) (lost, covered []*Site) {
	w := window{mem: t.mem}
	for _, s := range sites {
		from, patch := s.Planted()
		if len(patch) == 0 {
			continue
		}
		switch now := w.at(from, len(patch)); {
		case now == nil || bytes.Equal(now, patch):
		case Covered(t.isa, patch, now):
			covered = append(covered, s)
		default:
			lost = append(lost, s)
		}
	}
	return lost, covered
}

// Covered reports whether what is where a patch was is that with another tool's trap over it.
func Covered(isa arch.ISA, patch, now []byte) bool {
	for i := range patch {
		if now[i] != patch[i] {
			return isa.IsTrap(now[i&^(isa.MinInst()-1):])
		}
	}
	return false
}

// Planted is where a site's patch has to be, and what it is; none of a site that is quiet.
func (s *Site) Planted() (arch.Addr, []byte) {
	switch {
	case !s.armed || s.area == nil:
		return 0, nil
	case s.run != nil:
		return s.run.from, s.run.patch
	}
	return s.Addr, s.patch
}

// Replant puts the traps of lost sites back that have no jump (any more, after Disarm),
// where memory has what these displaced. It gives those that are traps again.
func (t *Table) Replant(sites []*Site) (again []*Site) {
	for _, s := range sites {
		if t.sites[s.Addr] != s || s.run != nil || len(s.patch) == 0 {
			continue
		}
		now := make([]byte, len(s.patch))
		if t.mem.Read(s.Addr, now) == nil && bytes.Equal(now, s.code[:len(now)]) && t.mem.Write(s.Addr, s.patch) == nil {
			again = append(again, s)
		}
	}
	return again
}

// window is memory that is read in pieces, for sites that lie close together: each read
// is a system call.
type window struct {
	mem  Memory
	from arch.Addr
	buf  []byte // what is there, of room
	room []byte
}

// windowSize is that of a piece.
const windowSize = 16 * pageSize

// at is the n bytes at an address, nil if they can't be read.
func (w *window) at(addr arch.Addr, n int) []byte {
	if off := addr - w.from; addr >= w.from && off+arch.Addr(n) <= arch.Addr(len(w.buf)) {
		return w.buf[off:][:n]
	}
	if w.room == nil {
		w.room = make([]byte, windowSize)
	}
	w.from = addr &^ (pageSize - 1)
	for _, size := range []int{windowSize, int(addr-w.from) + n} { // its mapping may end before
		if w.buf = w.room[:size]; w.mem.Read(w.from, w.buf) == nil {
			return w.buf[addr-w.from:][:n]
		}
	}
	w.buf = nil
	return nil
}
