package breakpoint

import (
	"bytes"
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// maxRecovered is how many cells all areas together may have: memory that looks like an area may
// belong to the program, which can claim any number.
const maxRecovered = 1 << 21

// Recover rebuilds the table that a dead tracer left in a space, from those of the given mappings
// that are areas. All its sites are armed. To clean up, the caller removes them, moves tasks out of
// the areas and unmaps the areas.
func Recover(isa arch.ISA, mem Memory, mapper Mapper, mappings []arch.Addr) (*Table, bool) {
	t := New(isa, mem, mapper)
	left := maxRecovered
	for _, addr := range mappings {
		a, guard, ok := readHeader(mem, addr)
		if !ok {
			if l, ok := readLibrary(mem, addr); ok {
				t.libs = append(t.libs, l)
			}
			continue
		}
		if a.n > left {
			continue
		}
		left -= a.n
		a.sites, a.trampolines = make([]*Site, a.n), make([]*trampoline, a.n)
		if guard != 0 {
			t.guard = guard
			t.areas = append([]*area{a}, t.areas...)
		} else {
			t.areas = append(t.areas, a)
		}
	}
	for _, a := range t.areas {
		t.recoverSites(a)
	}
	return t, len(t.areas) > 0
}

func (t *Table) recoverSites(a *area) {
	entries := make([]byte, a.n*arch.EntrySize)
	if t.mem.Read(a.index+arch.ChunkHead, entries) != nil {
		return
	}
	for i := range a.n {
		e := entries[i*arch.EntrySize:]
		addr := arch.Addr(binary.LittleEndian.Uint64(e[arch.EntryAddr:]))
		if addr == 0 {
			continue
		}
		s := &Site{Addr: addr, Rung: Slot, Resume: arch.Addr(binary.LittleEndian.Uint64(e[arch.EntryResume:])), area: a, cell: i}
		if t.recoverSite(s) {
			a.sites[i] = s
			a.used = max(a.used, i+1)
			// A site that was removed and inserted again is here twice: the armed jump is the one
			// that one of them records.
			if old := t.sites[addr]; old == nil || old.trampoline == nil {
				t.sites[addr] = s
			}
		}
	}
	t.sorted = nil
}

// recoverSite reads from the site's cell what the trap displaced, and computes its slot again, to
// know where tasks may be inside it.
func (t *Table) recoverSite(s *Site) bool {
	var cell [cellSize]byte
	if t.mem.Read(s.Slot(), cell[:]) != nil {
		return false
	}
	for n := t.isa.MaxInst(); n > 0; n-- {
		if t.mem.Read(s.Addr, s.code[:n]) == nil {
			s.codeN = uint8(n)
			break
		}
	}
	k := int(cell[cellOrig+8])
	if k == 0 || k > 8 || int(s.codeN) < min(k, t.isa.MaxInst()) {
		return false
	}
	orig, back := cell[cellOrig:cellOrig+k], int(cell[cellBack])
	jump := min(int(cell[cellJump]), k)
	if back == 0 || jump == 0 {
		copy(s.code[:], orig)
	} else { // the bytes that the jump displaces, then those that the trap displaces
		copy(s.code[:], orig[jump:])
		copy(s.code[:], orig[min(back, jump):jump])
	}
	s.armed, s.patch = true, t.isa.Trap()
	t.recoverJump(s, cell[:])
	inst, err := t.isa.Decode(s.Code(), s.Addr)
	if err != nil {
		return true
	}
	s.Inst = inst
	t.buf.Reset(s.Slot())
	if slot, err := t.isa.Relocate(&t.buf, s.Code(), s.Addr); err == nil && s.Resume == s.Slot() {
		s.slot = slot
	}
	return true
}

// recoverJump finds the trampoline of a site that may be armed by a jump, and finds out whether the
// jump is armed.
func (t *Table) recoverJump(s *Site, cell []byte) {
	n := int(cell[cellJump])
	if n == 0 || n > t.isa.MaxJump() || cell[cellCount] == 0 {
		return
	}
	to := s.Slot() + arch.Addr(int32(binary.LittleEndian.Uint32(cell[cellFirst:])))
	r := &trampoline{sites: []*Site{s}, n: int(cell[cellCount]), addr: to, from: s.Addr - arch.Addr(cell[cellBack]), code: bytes.Clone(cell[cellOrig : cellOrig+8]), leans: &leansOnNothing}
	for _, a := range t.areas {
		if to >= a.cells && to < a.index {
			r.area, r.cell = a, int(to-a.cells)/cellSize
		}
	}
	if r.area == nil || to != r.area.cell(r.cell) || r.cell+r.n > r.area.n {
		return
	}
	for k := r.cell; k < r.cell+r.n; k++ {
		r.area.trampolines[k] = r
	}
	patch, err := t.isa.Jump(r.code, r.from, to)
	now := make([]byte, max(n, t.isa.JumpLen()))
	if t.mem.Read(r.from, now) != nil {
		now = nil
	}
	armed := err == nil && bytes.Equal(now, patch)
	if err == nil && now != nil && bytes.Equal(now, halfOf(patch, r.code)) {
		armed, now = true, patch
	}
	if r.veneer = t.recoverVeneer(r, now); r.veneer != 0 {
		armed = true
	}
	if armed {
		r.patch = now[:n]
		s.trampoline, s.Rung = r, r.rung()
		t.jumps++
		return
	}
	t.old = append(t.old, r) // a task may be in it even so
}
