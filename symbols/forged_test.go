package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/internal/skip"
)

// forged is an ELF file that says what it likes of itself.
type forged struct {
	segments []segment
	sections []forgedSection
	size     uint64 // of the file; what nobody writes is a hole
	mapped   int    // the section that is loaded as data, 0: none
	overlay  string // sections without a name have ends of this one
	bare     bool   // there are no section headers
}

// forgedSection lies where it says or, with data, where there is room.
type forgedSection struct {
	section
	data []byte
}

const (
	forgedText = 0x1000 // where the code is, in the file and loaded
	hole       = 1 << 40
	terabytes  = 7 << 40
)

// bytes gives the sections their places, and what of the file is not a hole.
func (f *forged) bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, forgedText+0x1000)
	names := []byte{0}
	if f.overlay != "" {
		names = append(append(names, f.overlay...), 0)
	}
	headers := make([]byte, shdrSize)
	f.sections = append(f.sections, forgedSection{section{name: ".shstrtab", typ: elf.SHT_STRTAB}, []byte{0}})
	for i, s := range f.sections {
		if s.nameOff = uint32(len(names)); s.name != "" {
			names = append(append(names, s.name...), 0)
		} else if f.overlay != "" {
			s.nameOff = 1 + uint32(i)
		}
		if s.name == ".shstrtab" {
			s.data = names
		}
		if s.data != nil {
			b = append(b, make([]byte, -len(b)&15)...)
			s.off, s.size = uint64(len(b)), uint64(len(s.data))
			b = append(b, s.data...)
		}
		if i == f.mapped && i > 0 {
			f.segments = append(f.segments, segment{typ: elf.PT_LOAD, flags: elf.PF_R, off: s.off, vaddr: s.addr, filesz: s.size, mem: s.size})
		}
		h := make([]byte, shdrSize)
		le.PutUint32(h, s.nameOff)
		le.PutUint32(h[4:], uint32(s.typ))
		le.PutUint64(h[8:], uint64(s.flags))
		le.PutUint64(h[16:], s.addr)
		le.PutUint64(h[24:], s.off)
		le.PutUint64(h[32:], s.size)
		le.PutUint32(h[40:], s.link)
		headers = append(headers, h...)
	}
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	le.PutUint16(b[16:], uint16(elf.ET_DYN))
	le.PutUint16(b[18:], uint16(elf.EM_X86_64))
	b = append(b, make([]byte, -len(b)&15)...)
	le.PutUint64(b[32:], uint64(len(b)))
	le.PutUint16(b[54:], phdrSize)
	le.PutUint16(b[56:], uint16(len(f.segments)))
	for _, s := range f.segments {
		b = append(b, make([]byte, phdrSize)...)
		p := b[len(b)-phdrSize:]
		le.PutUint32(p, uint32(s.typ))
		le.PutUint32(p[4:], uint32(s.flags))
		le.PutUint64(p[8:], s.off)
		le.PutUint64(p[16:], s.vaddr)
		le.PutUint64(p[32:], s.filesz)
		le.PutUint64(p[40:], s.mem)
	}
	if !f.bare {
		b = append(b, make([]byte, -len(b)&15)...)
		le.PutUint64(b[40:], uint64(len(b)))
		le.PutUint16(b[58:], shdrSize)
		le.PutUint16(b[60:], uint16(len(headers)/shdrSize))
		le.PutUint16(b[62:], uint16(len(headers)/shdrSize-1))
		b = append(b, headers...)
	}
	return b
}

// open writes the file.
func (f *forged) open(t *testing.T) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(path, f.bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	if f.size > 0 {
		if err := os.Truncate(path, int64(f.size)); err != nil {
			skip.Missing(t, fmt.Sprintf("room for a file of %d bytes", f.size))
		}
	}
	file := open(t, path)
	if f.size > 0 {
		needsHoles(t, file.obj.r.(*os.File))
	}
	return file
}

// library is one with code and a symbol table; size is that of both its code and the file,
// 0 for what is usual.
func library(size uint64, names []byte, symbols ...symbol) *forged {
	code := segment{typ: elf.PT_LOAD, flags: elf.PF_R | elf.PF_X, off: forgedText, vaddr: forgedText, filesz: 0x1000, mem: 0x1000}
	if size > 0 {
		code.filesz, code.mem = size-forgedText, size-forgedText
	}
	text := section{name: ".text", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, addr: forgedText, off: forgedText, size: code.filesz}
	return &forged{segments: []segment{code}, size: size, sections: []forgedSection{{text, nil},
		{section{name: ".symtab", typ: elf.SHT_SYMTAB, link: 3}, rawSymbols(symbols)},
		{section{name: ".strtab", typ: elf.SHT_STRTAB}, names}}}
}

// rawSymbols is a symbol table; a symbol's size is where its name lies.
func rawSymbols(symbols []symbol) []byte {
	b := make([]byte, symSize)
	for _, s := range symbols {
		b = binary.LittleEndian.AppendUint32(b, uint32(s.size))
		b = append(b, byte(elf.STB_GLOBAL)<<4|byte(elf.STT_FUNC), 0, 1, 0)
		b = binary.LittleEndian.AppendUint64(b, s.addr)
		b = binary.LittleEndian.AppendUint64(b, 0)
	}
	return b
}

// with adds a section: data, or what it says to have of the file.
func (f *forged) with(name string, typ elf.SectionType, s section, data []byte) *forged {
	s.name, s.typ, s.flags = name, typ, elf.SHF_ALLOC
	f.sections = append(f.sections, forgedSection{s, data})
	return f
}

// work is a library's function, of the names that plainNames are.
var work, plainNames = symbol{addr: forgedText, size: 1}, []byte("\x00work\x00")

// forgedFiles are files of which each says something else that is not so, or has it in a
// number that nobody has.
var forgedFiles = map[string]func() *forged{
	"plain": func() *forged { return library(0, plainNames, work) },
	"code":  func() *forged { return library(terabytes, plainNames, work) },
	"symbols": func() *forged {
		f := library(0, plainNames)
		f.size = terabytes
		f.sections[1].section, f.sections[1].data = section{name: ".symtab", typ: elf.SHT_SYMTAB, link: 3, off: hole, size: symSize << 32}, nil
		f.sections[2].section, f.sections[2].data = section{name: ".strtab", typ: elf.SHT_STRTAB, off: hole, size: 1 << 32}, nil
		return f
	},
	"names": func() *forged {
		f := library(0, nil, work)
		f.size = terabytes
		f.sections[2].section = section{name: ".strtab", typ: elf.SHT_STRTAB, off: hole, size: maxPart}
		return f
	},
	// A chain of a hash table that never ends.
	"hash": func() *forged {
		f := library(0, plainNames).with(".dynsym", elf.SHT_DYNSYM, section{link: 5, off: hole, size: symSize << 32}, nil).
			with(".dynstr", elf.SHT_STRTAB, section{off: hole, size: 1 << 32}, nil).
			with(".gnu.hash", elf.SHT_GNU_HASH, section{off: 0x10, size: hole}, nil)
		f.size, f.sections = terabytes, f.sections[3:]
		f.sections[0].link = 2
		return f
	},
	"data": func() *forged {
		f := library(0, plainNames, work).with(".data", elf.SHT_PROGBITS, section{addr: hole, off: hole, size: hole}, nil).
			with(".rela.dyn", elf.SHT_RELA, section{addr: 2 * hole, off: hole, size: hole}, nil).
			with(".eh_frame", elf.SHT_PROGBITS, section{off: hole, size: hole}, nil).
			with(".note.a", elf.SHT_NOTE, section{off: hole, size: hole}, nil).
			with(".gopclntab", elf.SHT_PROGBITS, section{off: hole, size: maxPart}, nil)
		f.size = terabytes
		return f
	},
	// Sections that lie over each other, with names that are the ends of one.
	"sections": func() *forged {
		f := library(0, plainNames, work)
		at := uint64(len(f.bytes()))
		f = library(0, plainNames, work)
		for range 60000 {
			f.with("", elf.SHT_PROGBITS, section{off: 0, size: at}, nil)
		}
		f.overlay = strings.Repeat("s", 1<<20)
		return f
	},
	"segments": func() *forged {
		f := library(0, plainNames, work)
		for range 1000 {
			f.segments = append(f.segments, f.segments[0])
		}
		return f
	},
	// What is looked for, again and again in one string.
	"versions": func() *forged { return library(0, append(bytes.Repeat([]byte("work@"), 1<<17), 0), work) },
	"mangled":  func() *forged { return library(0, append(bytes.Repeat([]byte("4work"), 1<<17), 0), work) },
	// Many names of one function, and many that are the ends of one.
	"aliases": func() *forged {
		names, symbols := []byte{0}, []symbol{}
		for i := range 100000 {
			symbols = append(symbols, symbol{addr: forgedText, size: uint64(len(names))})
			names = fmt.Appendf(names, "f%d\x00", i)
		}
		return library(0, names, symbols...)
	},
	"ends": func() *forged {
		names, symbols := append(bytes.Repeat([]byte("a"), 1<<20), 0), []symbol{}
		for i := range 20000 {
			symbols = append(symbols, symbol{addr: forgedText + uint64(i%0x1000), size: uint64(len(names) - i)})
		}
		return library(0, names, symbols...)
	},
	"relocations": func() *forged {
		names, symbols, rela := append(bytes.Repeat([]byte("a"), 1<<20), 0), []symbol{}, []byte{}
		for i := range 40000 {
			symbols = append(symbols, symbol{addr: forgedText, size: uint64(20 * i)})
			rela = binary.LittleEndian.AppendUint64(rela, forgedText)
			rela = binary.LittleEndian.AppendUint64(rela, uint64(i)<<32|uint64(elf.R_X86_64_GLOB_DAT))
			rela = binary.LittleEndian.AppendUint64(rela, 0)
		}
		return library(0, plainNames, work).with(".dynsym", elf.SHT_DYNSYM, section{link: 5}, rawSymbols(symbols)).
			with(".dynstr", elf.SHT_STRTAB, section{}, names).with(".rela.dyn", elf.SHT_RELA, section{link: 4}, rela)
	},
	// Rules for unwinding that remember all registers, thousands of times.
	"states": func() *forged {
		var rules []byte
		for i := range 8000 {
			rules = append(rules, 0x05, byte(i)|0x80, byte(i>>7), 1) // offset_extended
		}
		rules = append(rules, bytes.Repeat([]byte{rememberState}, 30000)...)
		cie := []byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, encPCRel | encSdata4, 0, 0, 0}
		f := library(0, plainNames, work).with(".eh_frame", elf.SHT_PROGBITS, section{addr: frameAddr}, frameOf(cie, rules))
		f.mapped = len(f.sections) - 1
		return f
	},
	// Without section headers, all that looks like the start of Go's table.
	"go": func() *forged {
		header := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0x0801_0000_ffff_fff1), 1)
		f := library(0, plainNames).with(".note", elf.SHT_NOTE, section{}, bytes.Repeat(header, 1<<16))
		f.mapped, f.bare = len(f.sections)-1, true
		return f
	},
}

// frameAddr is where forged rules for unwinding are loaded.
const frameAddr = 0x400000

// frameOf is .eh_frame for the code of a forged file: one CIE and one FDE with these rules.
func frameOf(cie, rules []byte) []byte {
	le := binary.LittleEndian
	b := append(le.AppendUint32(nil, uint32(len(cie))), cie...)
	start := int64(forgedText) - int64(frameAddr+len(b)+8)
	fde := le.AppendUint32(le.AppendUint32(nil, uint32(len(b)+4)), uint32(start))
	fde = append(append(le.AppendUint32(fde, 0x1000), 0), rules...)
	return append(le.AppendUint32(b, uint32(len(fde))), fde...)
}

// all asks a file for everything.
func all(f *File) {
	f.BuildID()
	f.Interp()
	f.Lookup("work")
	f.Variable("work")
	fns, _ := f.Functions()
	for _, fn := range fns[:min(len(fns), 20)] {
		f.Exits(amd64.ISA, fn)
		f.Convention(fn)
		f.Body(amd64.ISA, fn)
		f.Block(amd64.ISA, fn.Addr+1, 16)
		f.Undisturbed(amd64.ISA, fn.Addr, 5, []arch.Addr{fn.Addr + 1})
	}
	f.Unwind(forgedText + 1)
	f.Slots([]string{"work"})
	f.Code(16, func(arch.Addr, []byte) {})
}

// TestForged asks files for everything that say more of themselves than there is: it
// takes little memory, and ends.
func TestForged(t *testing.T) {
	for name, forge := range forgedFiles {
		t.Run(name, func(t *testing.T) {
			file := forge().open(t)
			if n := allocated(func() { all(file) }); n > 100<<20 {
				t.Errorf("%d MiB of memory", n>>20)
			} else {
				t.Logf("%d MiB of memory", n>>20)
			}
		})
	}
}
