package breakpoint

import (
	"github.com/ptracer/ptracer/arch"
)

// ReadOriginal reads the program's memory as if there were no patches.
func (t *Table) ReadOriginal(addr arch.Addr, buf []byte) error {
	if err := t.mem.Read(addr, buf); err != nil {
		return err
	}
	t.Hide(addr, buf)
	return nil
}

// Hide replaces patches in buf, read at addr, by the program's bytes.
func (t *Table) Hide(addr arch.Addr, buf []byte) {
	for _, s := range t.overlapping(addr, len(buf)) {
		if !s.armed {
			continue
		}
		if s.area != nil {
			put(addr, buf, s.Addr, s.code[:len(s.patch)])
		}
		if s.trampoline != nil {
			put(addr, buf, s.trampoline.from, s.trampoline.code[:len(s.trampoline.patch)])
		}
	}
}

// put copies the part of code, which lies at at, that overlaps buf, which lies at addr.
func put(addr arch.Addr, buf []byte, at arch.Addr, code []byte) {
	for i := range code {
		if k := int64(at) + int64(i) - int64(addr); k >= 0 && k < int64(len(buf)) {
			buf[k] = code[i]
		}
	}
}

// WriteOriginal writes the program's memory and keeps the patches: under a site the original code
// changes, and the site gets a new slot. No jump may displace the written bytes.
func (t *Table) WriteOriginal(addr arch.Addr, data []byte) error {
	out := append([]byte(nil), data...)
	var changed []*Site
	for _, s := range t.overlapping(addr-16, len(data)+16) {
		lo, hi := int64(s.Addr)-int64(addr), int64(s.Addr)+int64(s.codeN)-int64(addr)
		if !s.armed || hi <= 0 || lo >= int64(len(data)) {
			continue
		}
		changed = append(changed, s)
		if s.area != nil {
			put(addr, out, s.Addr, s.patch)
		}
	}
	if err := t.mem.Write(addr, out); err != nil {
		return err
	}
	for _, s := range changed {
		put(s.Addr, s.code[:s.codeN], addr, data)
	}
	return t.renew(changed)
}

// renew relocates the changed instructions of sites into new slots. Tasks may be inside the old
// slots, which stay until Sweep.
func (t *Table) renew(sites []*Site) error {
	for _, s := range sites {
		inst, err := t.isa.Decode(s.Code(), s.Addr)
		if err != nil {
			return &SiteError{s.Addr, err}
		}
		s.Inst = inst
		s.Ambiguous = t.isa.TrapPC(s.Addr) == s.Addr || inst.Len == 1
		old := *s
		if err := t.serve(s, Auto, 1); err != nil {
			return &SiteError{s.Addr, err}
		}
		if old.area != nil {
			retired := old
			old.area.sites[old.cell] = &retired
			if err := t.putWord(old.area.entry(old.cell)+arch.EntryAddr, 0); err != nil {
				return err
			}
		}
		if err := t.enter([]*Site{s}); err != nil {
			return err
		}
	}
	return nil
}

// Locate returns how to show a task at pc, in a mapping of ptracer's. ok is false if pc is not at
// an instruction boundary of a live slot.
func (t *Table) Locate(pc arch.Addr) (fix arch.Fix, site *Site, ok bool) {
	for _, a := range t.areas {
		if pc < a.cells || pc >= a.index {
			continue
		}
		i := int(pc-a.cells) / cellSize
		if r := a.trampolines[i]; r != nil {
			return r.locate(pc)
		}
		s := a.sites[i]
		if s == nil {
			return arch.Fix{}, nil, false
		}
		off := int(pc - a.cell(i))
		for _, f := range s.slot.Fixes {
			if f.Off == off {
				return f, s, true
			}
		}
		return arch.Fix{}, s, false
	}
	if r := t.veneers[pc]; r != nil {
		return arch.Fix{PC: r.from, Before: true, Reg: -1}, r.sites[0], true
	}
	return arch.Fix{}, nil, false
}
