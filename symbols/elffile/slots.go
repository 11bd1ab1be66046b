package elffile

import (
	"debug/elf"
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// Slot is a word of an object's data that gets a function's address when the program
// runs: from the loader, or where a program has none from its own start.
type Slot struct {
	Addr  arch.Addr // vaddr
	First uint64    // what the file has there: until the first call it is that, or that and the bias
}

// Slots are those of a file.
type Slots struct {
	Named    map[string][]Slot    // that get the address of what has a name
	Resolved map[arch.Addr][]Slot // that get what the resolver at an address gives back
}

// RelaSize is that of an Elf64_Rela.
const RelaSize = 24

// ReadSlots looks at the relocations that are applied when the file runs. What can't be
// read is left out, and what is more than the file has: its sections lie over each other.
func ReadSlots(o *Object) *Slots {
	s := &Slots{Named: map[string][]Slot{}, Resolved: map[arch.Addr][]Slot{}}
	names, left := map[uint32]func(uint32) string{}, uint64(o.Size)
	for _, sec := range o.Sections {
		if sec.Type != elf.SHT_RELA || sec.flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if names[sec.link] == nil && len(names) < 2 { // the dynamic linker's, and none
			names[sec.link] = symbolNames(o, sec.link)
		}
		syms := names[sec.link]
		if syms == nil {
			continue
		}
		_ = o.Records(sec.Off, sec.Size, RelaSize, &left, func(b []byte) error {
			return s.add(o, syms, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]))
		})
	}
	return s
}

// slotCost is what one takes of memory; its name is a part of the file's.
const slotCost = 64

// add adds the slot of one relocation, if that is of a function's address.
func (s *Slots) add(o *Object, syms func(uint32) string, at, info, addend uint64) error {
	kind := relocationOf(o.Machine, uint32(info))
	if kind == other || kind == absolute && addend != 0 {
		return nil
	}
	name := ""
	if kind != indirect {
		if name = syms(uint32(info >> 32)); name == "" {
			return nil
		}
	}
	if err := o.Budget.Keep(slotCost); err != nil {
		return err
	}
	slot := Slot{arch.Addr(at), o.word(at)}
	if kind == indirect {
		s.Resolved[arch.Addr(addend)] = append(s.Resolved[arch.Addr(addend)], slot)
	} else {
		s.Named[name] = append(s.Named[name], slot)
	}
	return nil
}

// relocation is a kind that matters here.
type relocation uint8

const (
	other    relocation = iota
	indirect            // by a resolver
	global              // a symbol's address
	absolute            // a symbol's address and something
)

// relocationOf sorts a relocation's type.
func relocationOf(machine elf.Machine, typ uint32) relocation {
	switch machine {
	case elf.EM_X86_64:
		switch elf.R_X86_64(typ) {
		case elf.R_X86_64_IRELATIVE:
			return indirect
		case elf.R_X86_64_JMP_SLOT, elf.R_X86_64_GLOB_DAT:
			return global
		case elf.R_X86_64_64:
			return absolute
		}
	case elf.EM_AARCH64:
		switch elf.R_AARCH64(typ) {
		case elf.R_AARCH64_IRELATIVE:
			return indirect
		case elf.R_AARCH64_JUMP_SLOT, elf.R_AARCH64_GLOB_DAT:
			return global
		case elf.R_AARCH64_ABS64:
			return absolute
		}
	}
	return other
}

// symbolNames gives the names of the symbols of section n, by their numbers.
func symbolNames(o *Object, n uint32) func(uint32) string {
	none := func(uint32) string { return "" }
	if n == 0 || int(n) >= len(o.Sections) || int(o.Sections[n].link) >= len(o.Sections) {
		return none
	}
	syms, err := o.Data(o.Sections[n])
	if err != nil {
		return none
	}
	b, err := o.Data(o.Sections[o.Sections[n].link])
	if err != nil || o.Budget.Keep(uint64(len(b))) != nil {
		return none
	}
	text := TextOf(b)
	return func(i uint32) string {
		if (uint64(i)+1)*symSize > uint64(len(syms)) {
			return ""
		}
		return Unversioned(NameIn(text, uint64(entry(syms[uint64(i)*symSize:]).name())))
	}
}

// word is the 8 bytes that the file has for a vaddr, 0 where it has none.
func (o *Object) word(vaddr uint64) uint64 {
	for _, s := range o.Segments {
		if s.Type != elf.PT_LOAD || vaddr < s.Vaddr || vaddr-s.Vaddr > s.Filesz || s.Filesz-(vaddr-s.Vaddr) < 8 {
			continue
		}
		if b, err := o.Read(s.Off+vaddr-s.Vaddr, 8); err == nil {
			return binary.LittleEndian.Uint64(b)
		}
	}
	return 0
}
