package breakpoint

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// Recover rebuilds the table that a dead tracer left in a space, from those of
// the given mappings that are areas. All its sites are armed; to clean up,
// remove them, move tasks out of the areas and unmap these.
func Recover(isa arch.ISA, mem Memory, mapper Mapper, mappings []arch.Addr) (*Table, bool) {
	t := New(isa, mem, mapper)
	for _, addr := range mappings {
		a, guard, ok := readHeader(mem, addr)
		if !ok {
			continue
		}
		a.sites = make([]*Site, a.n)
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
			t.sites[addr], a.sites[i] = s, s
			a.used = i + 1
		}
	}
	t.sorted = nil
}

// recoverSite reads what the trap displaced from the site's cell, and works out
// its slot again: where tasks may stand in it.
func (t *Table) recoverSite(s *Site) bool {
	var cell [cellSize]byte
	if t.mem.Read(s.Slot(), cell[:]) != nil {
		return false
	}
	for n := t.isa.MaxInst(); n > 0; n-- {
		if t.mem.Read(s.Addr, s.code[:n]) == nil {
			s.codeN = n
			break
		}
	}
	k := int(cell[cellOrig+8])
	if k == 0 || k > 8 || s.codeN < k {
		return false
	}
	copy(s.code[:], cell[cellOrig:cellOrig+k])
	s.armed = true
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
