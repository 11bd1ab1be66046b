package target

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Sizes of an ELF file's structures.
const (
	headerSize  = 64
	segmentSize = 56
	sectionSize = 64
)

// section is a section of the file besides the first, empty one.
type section struct {
	name string
	elf.Section64
	data []byte
}

// file is an ELF file while it is written. It is mapped unchanged, so that an offset in the file is
// the distance from base in the program.
type file struct {
	a        *assembler
	body     bytes.Buffer
	sections []section
	segments []elf.Prog64
}

// image writes an ELF file: headers, code, data for a loader, symbols, section headers.
func image(a *assembler, linked bool) []byte {
	f := &file{a: a}
	f.body.Write(make([]byte, textOff))
	f.add(section{".text", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
		Addr: a.base, Addralign: 64}, a.code})
	f.segment(elf.PT_LOAD, elf.PF_R|elf.PF_X, 0, base, uint64(f.body.Len()), a.pageSize())
	f.segments = append(f.segments, elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	if linked {
		f.link()
	}
	symbols, names := symbolTable(a.symbols)
	f.add(section{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(len(f.sections)) + 2, Info: 1, Addralign: 8, Entsize: elf.Sym64Size}, symbols})
	f.add(section{".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}, names})
	return f.finish()
}

// add writes a section's contents.
func (f *file) add(s section) {
	f.body.Write(make([]byte, -f.body.Len()&7))
	s.Off, s.Size = uint64(f.body.Len()), uint64(len(s.data))
	f.body.Write(s.data)
	f.sections = append(f.sections, s)
}

// segment maps the part of the file from an offset on at an address.
func (f *file) segment(typ elf.ProgType, flags elf.ProgFlag, off, addr, size, align uint64) {
	f.segments = append(f.segments, elf.Prog64{Type: uint32(typ), Flags: uint32(flags), Off: off, Vaddr: addr, Paddr: addr,
		Filesz: size, Memsz: size, Align: align})
}

// link writes a second segment, with the data that the dynamic loader reads: its own path, symbols
// (those that tracers of libraries look for), where to write the address of the C library's exit,
// and where all that is.
func (f *file) link() {
	f.body.Write(make([]byte, -f.body.Len()&int(f.a.pageSize()-1)))
	start := uint64(f.body.Len())
	place := func(name string, typ elf.SectionType, link uint32, entry uint64, data []byte) (addr uint64) {
		addr = linkAddr + uint64(f.body.Len()+-f.body.Len()&7) - start
		f.add(section{name, elf.Section64{Type: uint32(typ), Flags: uint64(elf.SHF_ALLOC), Addr: addr, Link: link, Addralign: 8, Entsize: entry}, data})
		return addr
	}
	place(".got", elf.SHT_PROGBITS, 0, 8, make([]byte, 8)) // at exitAddr
	interp := append([]byte(f.a.loader()), 0)
	at := place(".interp", elf.SHT_PROGBITS, 0, 0, interp)
	f.segment(elf.PT_INTERP, elf.PF_R, at-linkAddr+start, at, uint64(len(interp)), 1)
	symbols, names := symbolTable(f.a.symbols)
	undefined := elf.Sym64{Name: uint32(len(names)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC)}
	symbols, names = append(symbols, packed(undefined)...), append(names, "exit\x00"...)
	needed := uint64(len(names))
	names = append(names, "libc.so.6\x00"...)
	n := len(symbols) / elf.Sym64Size
	strings := uint32(len(f.sections)) + 2
	symbolsAt := place(".dynsym", elf.SHT_DYNSYM, strings, elf.Sym64Size, symbols)
	namesAt := place(".dynstr", elf.SHT_STRTAB, 0, 0, names)
	hashAt := place(".hash", elf.SHT_HASH, strings-1, 4, emptyHash(n))
	const relaSize = 24
	relaAt := place(".rela.dyn", elf.SHT_RELA, strings-1, relaSize, packed(elf.Rela64{Off: exitAddr, Info: uint64(n-1)<<32 | uint64(f.a.globalData())}))
	var dynamic []byte
	for _, d := range []elf.Dyn64{
		{Tag: int64(elf.DT_NEEDED), Val: needed},
		{Tag: int64(elf.DT_HASH), Val: hashAt}, {Tag: int64(elf.DT_STRTAB), Val: namesAt}, {Tag: int64(elf.DT_SYMTAB), Val: symbolsAt},
		{Tag: int64(elf.DT_STRSZ), Val: uint64(len(names))}, {Tag: int64(elf.DT_SYMENT), Val: elf.Sym64Size},
		{Tag: int64(elf.DT_RELA), Val: relaAt}, {Tag: int64(elf.DT_RELASZ), Val: relaSize}, {Tag: int64(elf.DT_RELAENT), Val: relaSize},
		{Tag: int64(elf.DT_DEBUG)}, {Tag: int64(elf.DT_NULL)},
	} {
		dynamic = append(dynamic, packed(d)...)
	}
	at = place(".dynamic", elf.SHT_DYNAMIC, strings, 16, dynamic)
	f.segment(elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, at-linkAddr+start, at, uint64(len(dynamic)), 8)
	f.segment(elf.PT_LOAD, elf.PF_R|elf.PF_W, start, linkAddr, uint64(f.body.Len())-start, f.a.pageSize())
}

// emptyHash is a hash table without names, since no library links to the program. Its second word
// is the number of symbols.
func emptyHash(symbols int) []byte {
	table := make([]byte, 4*(2+1+symbols))
	binary.LittleEndian.PutUint32(table, 1)
	binary.LittleEndian.PutUint32(table[4:], uint32(symbols))
	return table
}

// finish writes the names of sections, and all headers.
func (f *file) finish() []byte {
	names := []byte{0}
	all := append(f.sections, section{".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}, nil})
	for i := range all {
		all[i].Name = uint32(len(names))
		names = append(append(names, all[i].name...), 0)
	}
	last := all[len(all)-1]
	last.data = names
	f.sections = all[:len(all)-1]
	f.add(last)
	f.body.Write(make([]byte, -f.body.Len()&7))
	at := f.body.Len()
	f.body.Write(packed(elf.Section64{}))
	for _, s := range f.sections {
		f.body.Write(packed(s.Section64))
	}
	head := packed(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(f.a.machine()), Version: uint32(elf.EV_CURRENT), Entry: f.a.addr("_start"),
		Phoff: headerSize, Shoff: uint64(at), Ehsize: headerSize, Phentsize: segmentSize, Phnum: uint16(len(f.segments)),
		Shentsize: sectionSize, Shnum: uint16(len(f.sections) + 1), Shstrndx: uint16(len(f.sections)),
	})
	for _, s := range f.segments {
		head = append(head, packed(s)...)
	}
	out := f.body.Bytes()
	copy(out, head)
	return out
}

// symbolTable returns the functions' symbols and their names.
func symbolTable(list []Symbol) (symbols, names []byte) {
	names = []byte{0}
	symbols = packed(elf.Sym64{})
	for _, s := range list {
		symbols = append(symbols, packed(elf.Sym64{Name: uint32(len(names)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC),
			Shndx: 1, Value: s.Addr, Size: s.Size})...)
		names = append(append(names, s.Name...), 0)
	}
	return symbols, names
}

// packed returns a structure in the file's form; all have a fixed size.
func packed(v any) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, v)
	return b
}
