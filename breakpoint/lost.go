package breakpoint

import (
	"bytes"

	"github.com/ptracer/ptracer/arch"
)

// A program may discard its copy of a page of code (madvise, MADV_DONTNEED), map the page again, or
// write it again. The patches in it are lost then, and the kernel does not report it.

// Lost returns the sites with a patch that is not in memory any more, and the sites with a patch
// that another tool has put a trap over; that tool may execute the code under its trap elsewhere.
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

// Covered reports whether memory has, in place of a patch, that patch with another tool's trap over
// it.
func Covered(isa arch.ISA, patch, now []byte) bool {
	for i := range patch {
		if now[i] != patch[i] {
			return isa.IsTrap(now[i&^(isa.MinInst()-1):])
		}
	}
	return false
}

// Planted returns the address of a site's patch, and the patch, which is empty for a quiet site.
func (s *Site) Planted() (arch.Addr, []byte) {
	switch {
	case !s.armed || s.area == nil:
		return 0, nil
	case s.trampoline != nil:
		return s.trampoline.from, s.trampoline.patch
	}
	return s.Addr, s.patch
}

// Replant puts back the traps of lost sites without a jump (Disarm removes jumps), where memory has
// the bytes that the traps displace. It returns the sites that are traps again.
func (t *Table) Replant(sites []*Site) (again []*Site) {
	for _, s := range sites {
		if t.sites[s.Addr] != s || s.trampoline != nil || len(s.patch) == 0 {
			continue
		}
		now := make([]byte, len(s.patch))
		if t.mem.Read(s.Addr, now) == nil && bytes.Equal(now, s.code[:len(now)]) && t.mem.Write(s.Addr, s.patch) == nil {
			again = append(again, s)
		}
	}
	return again
}

// window reads memory in pieces, for sites that lie close together: each read is a system call.
type window struct {
	mem  Memory
	from arch.Addr
	buf  []byte // what is there, of room
	room []byte
}

// windowSize is the size of a piece.
const windowSize = 16 * pageSize

// at returns n bytes at an address, nil if they can't be read.
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
