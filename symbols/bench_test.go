package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
)

// bigFile is a made-up library of 200 MB: many functions of long names, and
// debug information that nobody may read.
type bigFile struct {
	b    []byte // all that comes before the debug information
	size int64
	read atomic.Int64 // bytes
}

var errDebugRead = errors.New("debug information was read")

func (f *bigFile) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(len(f.b)) && off < f.size {
		return 0, errDebugRead
	}
	f.read.Add(int64(len(b)))
	return bytes.NewReader(f.b).ReadAt(b, off)
}

// The parts of a bigFile.
const (
	bigFunctions = 200000
	bigText      = 0x1000
	bigSize      = 200 << 20
)

var bigPrefix = "_ZN" + strings.Repeat("29a_long_name_as_templates_make_", 4)

func bigName(i int) string { return fmt.Sprintf("%s%d", bigPrefix, i) }

func newBig() *bigFile {
	const at, one = bigText, 16
	symOff := uint64(at + one*bigFunctions)
	var syms, strs []byte
	syms = append(syms, make([]byte, elf.Sym64Size)...)
	strs = append(strs, 0)
	le := binary.LittleEndian
	for i := range uint64(bigFunctions) {
		syms = le.AppendUint32(syms, uint32(len(strs)))
		syms = append(syms, byte(elf.STT_FUNC), 0, 1, 0)
		syms = le.AppendUint64(syms, at+one*(i*7919%bigFunctions))
		syms = le.AppendUint64(syms, 0)
		strs = append(strs, bigName(int(i))+"\x00"...)
	}
	strOff := symOff + uint64(len(syms))
	headOff := strOff + uint64(len(strs))
	const names = "\x00.text\x00.symtab\x00.strtab\x00.shstrtab\x00.debug_info\x00"
	b := make([]byte, headOff, headOff+1024)
	copy(b, elf.ELFMAG)
	b[4], b[5], b[6] = 2, 1, 1
	le.PutUint16(b[16:], uint16(elf.ET_DYN))
	le.PutUint16(b[18:], uint16(elf.EM_X86_64))
	le.PutUint64(b[32:], 64)
	le.PutUint64(b[40:], headOff+uint64(len(names)))
	for i, v := range []uint16{64, 56, 1, 64, 6, 4} {
		le.PutUint16(b[52+2*i:], v)
	}
	le.PutUint32(b[64:], uint32(elf.PT_LOAD))
	le.PutUint32(b[68:], uint32(elf.PF_R|elf.PF_X))
	for i, v := range []uint64{0, 0, 0, symOff, symOff, 4096} {
		le.PutUint64(b[72+8*i:], v)
	}
	copy(b[symOff:], syms)
	copy(b[strOff:], strs)
	b = append(b, names...)
	section := func(name string, typ elf.SectionType, flags elf.SectionFlag, off, size uint64, link uint32) {
		b = le.AppendUint32(b, uint32(strings.Index(names, "\x00"+name+"\x00")+1))
		b = le.AppendUint32(b, uint32(typ))
		for _, v := range []uint64{uint64(flags), off * uint64(flags&elf.SHF_ALLOC>>1), off, size} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(b, link)
		b = append(b, make([]byte, 20)...)
	}
	section("", 0, 0, 0, 0, 0)
	section(".text", elf.SHT_PROGBITS, elf.SHF_ALLOC|elf.SHF_EXECINSTR, at, symOff-at, 0)
	section(".symtab", elf.SHT_SYMTAB, 0, symOff, uint64(len(syms)), 3)
	section(".strtab", elf.SHT_STRTAB, 0, strOff, uint64(len(strs)), 0)
	section(".shstrtab", elf.SHT_STRTAB, 0, headOff, uint64(len(names)), 0)
	section(".debug_info", elf.SHT_PROGBITS, 0, headOff+4096, bigSize-headOff-4096, 0)
	return &bigFile{b: b, size: bigSize}
}

// TestLookupReadsLittle resolves one name in 200 MB: what is read is the table
// of names once and that of symbols twice, and next to nothing is kept.
func TestLookupReadsLittle(t *testing.T) {
	big := newBig()
	for _, i := range []int{0, 123456, bigFunctions - 1} {
		f, err := NewFile(big, big.size, "big")
		if err != nil {
			t.Fatal(err)
		}
		big.read.Store(0)
		fns, err := f.Lookup(bigName(i))
		if err != nil || len(fns) != 1 || fns[0].Size != 16 || fns[0].Addr != bigText+16*(arch.Addr(i)*7919%bigFunctions) {
			t.Errorf("%d: %+v, %v", i, fns, err)
		}
		most := int64(2*elf.Sym64Size*bigFunctions + 2*bigFunctions*len(bigName(bigFunctions)))
		if n := big.read.Load(); n > most {
			t.Errorf("%d bytes were read, of %d at most", n, most)
		}
	}
	got := testing.AllocsPerRun(1, func() {
		f, _ := NewFile(big, big.size, "big")
		f.Lookup(bigName(777))
	})
	if got > 1000 {
		t.Errorf("%v allocations", got)
	}
}

// benchFiles are a program and something large, with a name in each.
func benchFiles(b *testing.B) map[string]func() (*File, string) {
	path, big := forge.Tool(b, "go"), newBig()
	return map[string]func() (*File, string){
		"go": func() (*File, string) { return open(b, path), "main.main" },
		"200MB": func() (*File, string) {
			f, err := NewFile(big, big.size, "big")
			if err != nil {
				b.Fatal(err)
			}
			return f, bigName(123456)
		},
	}
}

// BenchmarkLookup is one name in a file that nobody has looked at.
func BenchmarkLookup(b *testing.B) {
	for name, next := range benchFiles(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, name := next()
				if fns, err := f.Lookup(name); err != nil || len(fns) != 1 {
					b.Fatal(fns, err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkFunctions is the whole table.
func BenchmarkFunctions(b *testing.B) {
	for name, next := range benchFiles(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, _ := next()
				if fns, err := f.Functions(); err != nil || len(fns) == 0 {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkExits finds the exits of one function.
func BenchmarkExits(b *testing.B) {
	f := open(b, forge.Tool(b, "go"))
	fns, err := f.Lookup("main.main")
	if err != nil || len(fns) != 1 {
		b.Fatal(fns, err)
	}
	for b.Loop() {
		if _, err := f.Exits(isaOf(f), fns[0]); err != nil {
			b.Fatal(err)
		}
	}
}
