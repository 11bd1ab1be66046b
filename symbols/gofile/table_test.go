package gofile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// goTableOf makes a table as a Go of the given magic number does: two
// functions, of 32 and 16 bytes, at text.
func goTableOf(magic uint32, text uint64) []byte {
	le := binary.LittleEndian
	b := append(le.AppendUint32(nil, magic), 0, 0, 1, 8)
	words := map[uint32]int{magicGo12: 1, magicGo116: 7, magicGo118: 8, magicGo120: 8}[magic]
	b = append(b, make([]byte, 8*words)...)
	put := func(i int, v uint64) { le.PutUint64(b[8+8*i:], v) }
	put(0, 2)
	names := uint64(len(b))
	if magic == magicGo12 {
		names = 16 + 5*8
	}
	text0 := func(v uint64) uint64 { return v }
	width := 8
	switch magic {
	case magicGo116:
		put(2, names)
	case magicGo118, magicGo120:
		put(2, text)
		put(3, names)
		width, text0 = 4, func(v uint64) uint64 { return v - text }
	}
	field := func(v uint64) {
		if width == 4 {
			b = le.AppendUint32(b, uint32(v))
		} else {
			b = le.AppendUint64(b, v)
		}
	}
	const nameText = "\x00main.one\x00main.two\x00\x00\x00\x00\x00\x00"
	base := uint64(0) // where offsets of function data count from
	nameBase := uint64(0)
	if magic != magicGo12 {
		b = append(b, nameText...)
		base = uint64(len(b))
		put(map[int]int{7: 6, 8: 7}[words], base)
	} else {
		nameBase = names
	}
	data := uint64(len(b)) - base + 5*uint64(width)
	if magic == magicGo12 {
		data += uint64(len(nameText))
	}
	size := uint64(width + 4)
	field(text0(text))
	field(data)
	field(text0(text + 32))
	field(data + size)
	field(text0(text + 48))
	if magic == magicGo12 {
		b = append(b, nameText...)
	}
	for i, off := range []uint64{1, 10} {
		field(text0(text + 32*uint64(i)))
		b = le.AppendUint32(b, uint32(nameBase+off))
	}
	return b
}

// coded is a file for a machine that has code at text, and nothing else.
func coded(t *testing.T, machine elf.Machine, text uint64) *elffile.Object {
	t.Helper()
	b := (&forge.File{Machine: machine, Segments: []elf.Prog64{codeAt(text)}}).Bytes()
	o, err := elffile.New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// codeAt is a segment of code.
func codeAt(text uint64) elf.Prog64 {
	return elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_X), Vaddr: text, Filesz: 4096, Memsz: 4096}
}

func TestMain(m *testing.M) { leak.Main(m) }

func TestTableVersions(t *testing.T) {
	const text = 0x401000
	o := coded(t, elf.EM_X86_64, text)
	for _, magic := range []uint32{magicGo12, magicGo116, magicGo118, magicGo120} {
		b := goTableOf(magic, text)
		g, ok := parse(o, 0x500000, b)
		if !ok {
			t.Errorf("%#x: not understood", magic)
			continue
		}
		var got []string
		err := g.Each(func(s elffile.Symbol) { got = append(got, fmt.Sprintf("%s %#x %d", s.Name, s.Addr, s.Size)) })
		if want := "main.one 0x401000 32, main.two 0x401020 16"; err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%#x: got %q, %v", magic, got, err)
		}
		for n := range b {
			if g, ok := parse(o, 0, b[:n]); ok {
				g.Each(func(elffile.Symbol) {})
				for i := range g.n {
					_, off := g.entry(i)
					g.assembly(off)
				}
			}
		}
	}
	if _, ok := parse(o, 0, goTableOf(magicGo120, text)[:20]); ok {
		t.Error("a table of 20 bytes")
	}
	if b := goTableOf(magicGo120, text); true {
		b[0] = 0xf5
		if _, ok := parse(o, 0, b); ok {
			t.Error("an unknown version")
		}
	}
}

// FuzzTable takes anything for Go's table of functions.
func FuzzTable(f *testing.F) {
	for _, magic := range []uint32{magicGo12, magicGo116, magicGo118, magicGo120} {
		f.Add(goTableOf(magic, forge.Text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		forged := forge.File{Bare: true, Mapped: 1, Segments: []elf.Prog64{codeAt(forge.Text)}, Sections: []forge.Section{{Name: ".text"}}}
		b := forged.With(".data", elf.SHT_PROGBITS, elf.Section64{Addr: 0x8000}, data).Bytes()
		o, err := elffile.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := New(o); ok {
			n := uint64(0)
			_ = g.Each(func(elffile.Symbol) { n++ })
			if n > g.n || g.n > uint64(len(data)) {
				t.Errorf("%d of %d functions, in %d bytes", n, g.n, len(data))
			}
			ReadCalls(o)
		}
	})
}
