package target

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Where the program lies: the file is mapped as it is, from its first byte.
const (
	base    = 0x400000
	textOff = 4096
)

// Image is an executable, and what lies where in it.
type Image struct {
	File    []byte // an ELF executable, static, at a fixed address, with symbols
	Sites   []Site
	Missing []Missing // classes of sites that this CPU has not got
	Trap    []byte    // the instruction that debuggers plant
	Symbols []Symbol
	// Many is how many functions many_0, many_1... there are; they lie Stride
	// bytes apart.
	Many   int
	Stride uint64
}

// Build makes the program for a Go architecture, with as many functions beside
// those with sites as are asked for. It fails with an error that wraps
// errors.ErrUnsupported on a CPU that it does not know.
func Build(goarch string, many int) (*Image, error) {
	set, err := setOf(goarch)
	if err != nil {
		return nil, err
	}
	a := newAssembler(set, base+textOff)
	w := writer{a}
	codes := a.sites()
	for _, c := range codes {
		c.write(a)
	}
	w.fn("leaf", 64, w.ret)
	w.program()
	img := &Image{Many: many, Stride: w.many(many), Missing: a.missing(), Trap: a.trap(), Symbols: a.symbols}
	if err := a.finish(); err != nil {
		return nil, err
	}
	for _, c := range codes {
		img.Sites = append(img.Sites, c.site(a))
	}
	img.File = image(a)
	return img, nil
}

// Site is the site of a class.
func (img *Image) Site(class string) (Site, bool) {
	for _, s := range img.Sites {
		if s.Class == class {
			return s, true
		}
	}
	return Site{}, false
}

// Addr is where a function lies, 0 if there is none of that name.
func (img *Image) Addr(function string) uint64 {
	for _, s := range img.Symbols {
		if s.Name == function {
			return s.Addr
		}
	}
	return 0
}

// Offset is where an address lies in the file.
func Offset(addr uint64) uint64 { return addr - base }

// section is a section of the file besides the first, empty one.
type section struct {
	name string
	elf.Section64
	data []byte
}

// image writes an ELF file: headers, code, symbols, section headers.
func image(a *assembler) []byte {
	symbols, names := symbolTable(a)
	sections := []section{
		{".text", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
			Addr: a.base, Addralign: 64}, a.code},
		{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: 3, Info: 1, Addralign: 8, Entsize: elf.Sym64Size}, symbols},
		{".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}, names},
		{".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}, nil},
	}
	last := &sections[len(sections)-1]
	last.data = []byte{0}
	for i := range sections {
		sections[i].Name = uint32(len(last.data))
		last.data = append(last.data, sections[i].name+"\x00"...)
	}
	var body bytes.Buffer
	body.Write(make([]byte, textOff))
	for i := range sections {
		s := &sections[i]
		body.Write(make([]byte, -body.Len()&7))
		s.Off, s.Size = uint64(body.Len()), uint64(len(s.data))
		body.Write(s.data)
	}
	body.Write(make([]byte, -body.Len()&7))
	head := headers(a, uint64(body.Len()), len(sections)+1)
	put(&body, elf.Section64{})
	for _, s := range sections {
		put(&body, s.Section64)
	}
	file := body.Bytes()
	copy(file, head)
	return file
}

// headers are the file header and the program headers: one segment with all of
// the code, and a stack that is not executable.
func headers(a *assembler, sectionsAt uint64, sections int) []byte {
	const headerSize, segmentSize, sectionSize = 64, 56, 64
	size := textOff + uint64(len(a.code))
	var b bytes.Buffer
	put(&b, elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(a.machine()), Version: uint32(elf.EV_CURRENT), Entry: a.addr("_start"),
		Phoff: headerSize, Shoff: sectionsAt, Ehsize: headerSize, Phentsize: segmentSize, Phnum: 2,
		Shentsize: sectionSize, Shnum: uint16(sections), Shstrndx: uint16(sections - 1),
	})
	put(&b, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base,
		Filesz: size, Memsz: size, Align: a.pageSize()})
	put(&b, elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	return b.Bytes()
}

// symbolTable is the functions' symbols and their names.
func symbolTable(a *assembler) (symbols, names []byte) {
	var b bytes.Buffer
	names = []byte{0}
	put(&b, elf.Sym64{})
	for _, s := range a.symbols {
		put(&b, elf.Sym64{Name: uint32(len(names)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1, Value: s.Addr, Size: s.Size})
		names = append(append(names, s.Name...), 0)
	}
	return b.Bytes(), names
}

// put writes a structure of the file; writing to memory does not fail.
func put(b *bytes.Buffer, v any) { _ = binary.Write(b, binary.LittleEndian, v) }
