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
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/skip"
)

const (
	hole      = 1 << 40
	terabytes = 7 << 40
	most      = 1 << 30 // of a part that is read
)

// openForged writes the file.
func openForged(t *testing.T, f *forge.File) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(path, f.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	if f.Size > 0 {
		if err := os.Truncate(path, int64(f.Size)); err != nil {
			skip.Missing(t, fmt.Sprintf("room for a file of %d bytes", f.Size))
		}
	}
	file := open(t, path)
	if f.Size > 0 {
		needsHoles(t, path)
	}
	return file
}

// library is one with code and a symbol table; size is that of both its code and the file,
// 0 for what is usual.
func library(size uint64, names []byte, symbols ...forgedSymbol) *forge.File {
	code := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: forge.Text, Vaddr: forge.Text, Filesz: 0x1000, Memsz: 0x1000}
	if size > 0 {
		code.Filesz, code.Memsz = size-forge.Text, size-forge.Text
	}
	text := elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR), Addr: forge.Text, Off: forge.Text, Size: code.Filesz}
	return &forge.File{Segments: []elf.Prog64{code}, Size: size, Sections: []forge.Section{{Name: ".text", Header: text},
		{Name: ".symtab", Header: elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: 3}, Data: rawSymbols(symbols)},
		{Name: ".strtab", Header: elf.Section64{Type: uint32(elf.SHT_STRTAB)}, Data: names}}}
}

// forgedSymbol is a function.
type forgedSymbol struct {
	addr uint64
	name uint32 // where it lies
}

// rawSymbols is a symbol table.
func rawSymbols(symbols []forgedSymbol) []byte {
	b := make([]byte, elf.Sym64Size)
	for _, s := range symbols {
		b = binary.LittleEndian.AppendUint32(b, s.name)
		b = append(b, byte(elf.STB_GLOBAL)<<4|byte(elf.STT_FUNC), 0, 1, 0)
		b = binary.LittleEndian.AppendUint64(b, s.addr)
		b = binary.LittleEndian.AppendUint64(b, 0)
	}
	return b
}

// work is a library's function, of the names that plainNames are.
var work, plainNames = forgedSymbol{addr: forge.Text, name: 1}, []byte("\x00work\x00")

// forgedFiles are files of which each says something else that is not so, or has it in a
// number that nobody has.
var forgedFiles = map[string]func() *forge.File{
	"plain": func() *forge.File { return library(0, plainNames, work) },
	"code":  func() *forge.File { return library(terabytes, plainNames, work) },
	"symbols": func() *forge.File {
		f := library(0, plainNames)
		f.Size = terabytes
		f.Sections[1].Header, f.Sections[1].Data = elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: 3, Off: hole, Size: elf.Sym64Size << 32}, nil
		f.Sections[2].Header, f.Sections[2].Data = elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: hole, Size: 1 << 32}, nil
		return f
	},
	"names": func() *forge.File {
		f := library(0, nil, work)
		f.Size = terabytes
		f.Sections[2].Header = elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: hole, Size: most}
		return f
	},
	// A chain of a hash table that never ends.
	"hash": func() *forge.File {
		f := library(0, plainNames).With(".dynsym", elf.SHT_DYNSYM, elf.Section64{Link: 5, Off: hole, Size: elf.Sym64Size << 32}, nil).
			With(".dynstr", elf.SHT_STRTAB, elf.Section64{Off: hole, Size: 1 << 32}, nil).
			With(".gnu.hash", elf.SHT_GNU_HASH, elf.Section64{Off: 0x10, Size: hole}, nil)
		f.Size, f.Sections = terabytes, f.Sections[3:]
		f.Sections[0].Header.Link = 2
		return f
	},
	"data": func() *forge.File {
		f := library(0, plainNames, work).With(".data", elf.SHT_PROGBITS, elf.Section64{Addr: hole, Off: hole, Size: hole}, nil).
			With(".rela.dyn", elf.SHT_RELA, elf.Section64{Addr: 2 * hole, Off: hole, Size: hole}, nil).
			With(".eh_frame", elf.SHT_PROGBITS, elf.Section64{Off: hole, Size: hole}, nil).
			With(".note.a", elf.SHT_NOTE, elf.Section64{Off: hole, Size: hole}, nil).
			With(".gopclntab", elf.SHT_PROGBITS, elf.Section64{Off: hole, Size: most}, nil)
		f.Size = terabytes
		return f
	},
	// Sections that lie over each other, with names that are the ends of one.
	"sections": func() *forge.File {
		f := library(0, plainNames, work)
		at := uint64(len(f.Bytes()))
		f = library(0, plainNames, work)
		for range 60000 {
			f.With("", elf.SHT_PROGBITS, elf.Section64{Off: 0, Size: at}, nil)
		}
		f.Overlay = strings.Repeat("s", 1<<20)
		return f
	},
	"segments": func() *forge.File {
		f := library(0, plainNames, work)
		for range 1000 {
			f.Segments = append(f.Segments, f.Segments[0])
		}
		return f
	},
	// What is looked for, again and again in one string.
	"versions": func() *forge.File { return library(0, append(bytes.Repeat([]byte("work@"), 1<<17), 0), work) },
	"mangled":  func() *forge.File { return library(0, append(bytes.Repeat([]byte("4work"), 1<<17), 0), work) },
	// Many names of one function, and many that are the ends of one.
	"aliases": func() *forge.File {
		names, symbols := []byte{0}, []forgedSymbol{}
		for i := range 100000 {
			symbols = append(symbols, forgedSymbol{addr: forge.Text, name: uint32(len(names))})
			names = fmt.Appendf(names, "f%d\x00", i)
		}
		return library(0, names, symbols...)
	},
	"ends": func() *forge.File {
		names, symbols := append(bytes.Repeat([]byte("a"), 1<<20), 0), []forgedSymbol{}
		for i := range 20000 {
			symbols = append(symbols, forgedSymbol{addr: forge.Text + uint64(i%0x1000), name: uint32(len(names) - i)})
		}
		return library(0, names, symbols...)
	},
	"relocations": func() *forge.File {
		names, symbols, rela := append(bytes.Repeat([]byte("a"), 1<<20), 0), []forgedSymbol{}, []byte{}
		for i := range 40000 {
			symbols = append(symbols, forgedSymbol{addr: forge.Text, name: uint32(20 * i)})
			rela = binary.LittleEndian.AppendUint64(rela, forge.Text)
			rela = binary.LittleEndian.AppendUint64(rela, uint64(i)<<32|uint64(elf.R_X86_64_GLOB_DAT))
			rela = binary.LittleEndian.AppendUint64(rela, 0)
		}
		return library(0, plainNames, work).With(".dynsym", elf.SHT_DYNSYM, elf.Section64{Link: 5}, rawSymbols(symbols)).
			With(".dynstr", elf.SHT_STRTAB, elf.Section64{}, names).With(".rela.dyn", elf.SHT_RELA, elf.Section64{Link: 4}, rela)
	},
	// Rules for unwinding that remember all registers, thousands of times.
	"states": func() *forge.File {
		var rules []byte
		for i := range 8000 {
			rules = append(rules, 0x05, byte(i)|0x80, byte(i>>7), 1) // offset_extended
		}
		rules = append(rules, bytes.Repeat([]byte{0x0a}, 30000)...)
		cie := []byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0, 0, 0}
		f := library(0, plainNames, work).With(".eh_frame", elf.SHT_PROGBITS, elf.Section64{Addr: forge.FrameAddr}, forge.Frames(cie, rules))
		f.Mapped = len(f.Sections) - 1
		return f
	},
	// Without section headers, all that looks like the start of Go's table.
	"go": func() *forge.File {
		header := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0x0801_0000_ffff_fff1), 1)
		f := library(0, plainNames).With(".note", elf.SHT_NOTE, elf.Section64{}, bytes.Repeat(header, 1<<16))
		f.Mapped, f.Bare = len(f.Sections)-1, true
		return f
	},
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
	f.Unwind(forge.Text + 1)
	f.Slots([]string{"work"})
	f.Code(16, func(arch.Addr, []byte) {})
}

// TestForged asks files for everything that say more of themselves than there is: it
// takes little memory, and ends.
func TestForged(t *testing.T) {
	for name, forged := range forgedFiles {
		t.Run(name, func(t *testing.T) {
			file := openForged(t, forged())
			if n := allocated(func() { all(file) }); n > 100<<20 {
				t.Errorf("%d MiB of memory", n>>20)
			} else {
				t.Logf("%d MiB of memory", n>>20)
			}
		})
	}
}
