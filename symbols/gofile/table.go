package gofile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// goBuildID is the type of the note that Go's linker makes (ELF_NOTE_GOBUILDID_TAG).
const goBuildID = 4

// goTables are the sections that Go's table of functions may be in.
var goTables = []string{".gopclntab", ".data.rel.ro.gopclntab"}

// Is reports whether a file has Go code.
func Is(o *elffile.Object) bool {
	if _, ok := o.Section(goTables...); ok {
		return true
	}
	_, is := o.Note("Go", goBuildID)
	return is
}

// Magic numbers of the table's header (runtime/symtab.go, internal/abi).
const (
	magicGo12  = 0xfffffffb // 1.2 to 1.15
	magicGo116 = 0xfffffffa
	magicGo118 = 0xfffffff0
	magicGo120 = 0xfffffff1 // 1.20 and later
)

// Table reads the functions of a Go program from the table that its runtime
// needs: it is there even where symbols were stripped.
type Table struct {
	o     *elffile.Object
	addr  uint64 // where the table is loaded
	b     []byte
	magic uint32
	n     uint64 // functions
	text  uint64 // what entries are relative to; 0 before Go 1.18
	names []byte
	funcs []byte // pairs of entry and offset in data
	data  []byte // per function: entry, offset of its name, and more
	width int    // of the fields in funcs
}

// New finds the table by its section or, where there are no section
// headers, by its magic number.
func New(o *elffile.Object) (*Table, bool) {
	t, ok := find(o)
	return t, ok && o.Budget.Keep(uint64(len(t.b))) == nil
}

func find(o *elffile.Object) (*Table, bool) {
	if s, ok := o.Section(goTables...); ok {
		b, err := o.Data(s)
		if err != nil {
			return nil, false
		}
		return parse(o, s.Addr, b)
	}
	if _, isGo := o.Note("Go", goBuildID); !isGo && len(o.Sections) > 0 {
		return nil, false
	}
	return search(o)
}

// maxLikely is how many places are tried that look like the table's start.
const maxLikely = 64

// search looks for a header at all multiples of 8 of loaded data.
func search(o *elffile.Object) (*Table, bool) {
	left := maxLikely
	for _, s := range o.Loads() {
		b, err := o.Data(elffile.Section{Off: s.Off, Size: s.Filesz})
		if err != nil {
			continue
		}
		for at := uint64(0); ; {
			// Behind the magic number's low byte are always these.
			i := bytes.Index(b[at:], []byte{0xff, 0xff, 0xff, 0, 0})
			if i < 0 {
				break
			}
			at += uint64(i)
			if at > 0 && (s.Vaddr+at-1)%8 == 0 && looksLikeGo(b[at-1:]) {
				if t, ok := parse(o, s.Vaddr+at-1, b[at-1:]); ok {
					return t, true
				}
				if left--; left == 0 {
					return nil, false
				}
			}
			at++
		}
	}
	return nil, false
}

// looksLikeGo looks at the first words of a table: magic, 0, 0, instruction size, pointer
// size.
func looksLikeGo(b []byte) bool {
	return len(b) >= 16 && b[4] == 0 && b[5] == 0 && (b[6] == 1 || b[6] == 4) && b[7] == 8
}

// parse reads the header, and the words behind its first.
func parse(o *elffile.Object, addr uint64, b []byte) (*Table, bool) {
	if !looksLikeGo(b) {
		return nil, false
	}
	t := &Table{o: o, addr: addr, b: b, magic: binary.LittleEndian.Uint32(b), width: 8}
	t.n = t.word(0)
	switch t.magic {
	case magicGo12:
		t.names, t.funcs, t.data = b, b[16:], b
	case magicGo116:
		t.names, t.data = t.from(2), t.from(6)
		t.funcs = t.data
	case magicGo118, magicGo120:
		t.names, t.data = t.from(3), t.from(7)
		t.funcs, t.width = t.data, 4
	default:
		return nil, false
	}
	if t.n == 0 || t.n > uint64(len(t.funcs)/(2*t.width)) {
		return nil, false
	}
	if t.width == 4 {
		t.text = t.textStart(t.word(2))
	}
	first, _ := t.entry(0)
	return t, o.Executable(first)
}

// word is the i-th word behind the first 8 bytes.
func (t *Table) word(i int) uint64 {
	if 8+8*i+8 > len(t.b) {
		return 0
	}
	return binary.LittleEndian.Uint64(t.b[8+8*i:])
}

// from is the part of the table that begins at the offset in a word.
func (t *Table) from(i int) []byte {
	off := t.word(i)
	if off == 0 || off >= uint64(len(t.b)) {
		return nil
	}
	return t.b[off:]
}

// entry is where the i-th function starts, and where its data is. Behind the
// last one is an end mark with an address only.
func (t *Table) entry(i uint64) (addr, data uint64) {
	at := i * 2 * uint64(t.width)
	field := func(at uint64) uint64 {
		if at+uint64(t.width) > uint64(len(t.funcs)) {
			return 0
		}
		if t.width == 4 {
			return uint64(binary.LittleEndian.Uint32(t.funcs[at:]))
		}
		return binary.LittleEndian.Uint64(t.funcs[at:])
	}
	return t.text + field(at), field(at + uint64(t.width))
}

var errGoTable = errors.New("damaged table of Go functions")

// Each implements elffile.Source.
func (t *Table) Each(yield func(elffile.Symbol)) error {
	names := elffile.TextOf(t.names)
	told := 0
	for i := range t.n {
		addr, off := t.entry(i)
		end, _ := t.entry(i + 1)
		at := off + uint64(t.entryWidth())
		if !t.o.Executable(addr) || at+4 > uint64(len(t.data)) || at < off {
			continue
		}
		nameOff := binary.LittleEndian.Uint32(t.data[at:])
		name := elffile.NameIn(names, uint64(nameOff))
		if name == "" {
			continue
		}
		told++
		yield(elffile.Symbol{Name: name, Addr: addr, Size: end - min(end, addr)})
	}
	if told == 0 {
		return errGoTable
	}
	return nil
}

// entryWidth is how long the entry is before the name in a function's data.
func (t *Table) entryWidth() int { return t.width }

// Named implements elffile.Source.
func (t *Table) Named(_ string, _ bool, accept func(string) bool, yield func(elffile.Symbol)) error {
	return t.Each(func(s elffile.Symbol) {
		if accept(s.Name) {
			yield(s)
		}
	})
}

// Near implements elffile.Source.
func (t *Table) Near(at []uint64, yield func(elffile.Symbol)) error {
	wanted := make(map[uint64]bool, len(at))
	for _, a := range at {
		wanted[a] = true
	}
	return t.Each(func(s elffile.Symbol) {
		if wanted[s.Addr] {
			yield(s)
		}
	})
}

// textStart is the address of runtime.text. The header had it until Go 1.25,
// unrelocated in position-independent programs; else it is in the runtime's
// moduledata; else the text section is all Go.
func (t *Table) textStart(header uint64) uint64 {
	if header != 0 && t.o.Executable(header) {
		return header
	}
	if a, ok := t.moduleText(); ok {
		return a
	}
	if s, ok := t.o.Section(".text"); ok {
		return s.Addr
	}
	return header
}

// moduleTextWord is the word of runtime.moduledata that holds runtime.text:
// behind a pointer to the table, six slices, and three words (since Go 1.16).
const moduleTextWord = 1 + 6*3 + 3

// moduleText finds moduledata by its first word, a pointer to the table: in
// the data, or in the relocations that will put it there.
func (t *Table) moduleText() (a uint64, ok bool) {
	var ptr [8]byte
	binary.LittleEndian.PutUint64(ptr[:], t.addr)
	const word, more = 8, 8 * moduleTextWord
	for _, s := range t.o.DataParts() {
		if s.Type == elf.SHT_RELA {
			if a, ok := t.relocatedText(s); ok {
				return a, true
			}
		}
		left := uint64(elffile.MaxPart)
		_ = t.o.Windows(s.Off, s.Size, word-1+more, &left, func(off uint64, b []byte, n int) error {
			for at := int((word - (off-s.Off)%word) % word); at < n && at+word+more <= len(b); at += word {
				if bytes.Equal(b[at:at+word], ptr[:]) {
					if a = binary.LittleEndian.Uint64(b[at+more:]); t.o.Executable(a) {
						ok = true
						return errFound
					}
				}
			}
			return nil
		})
		if ok {
			return a, true
		}
	}
	return 0, false
}

// errFound ends a search.
var errFound = errors.New("found")

// relocatedText does it with relocations: offset, info, addend, of which the
// relative ones put addend + bias at offset.
func (t *Table) relocatedText(s elffile.Section) (text uint64, ok bool) {
	le := binary.LittleEndian
	wanted := map[uint64]bool{}
	for _, second := range []bool{false, true} {
		left := uint64(elffile.MaxPart)
		_ = t.o.Records(s.Off, s.Size, elffile.RelaSize, &left, func(b []byte) error {
			off, addend := le.Uint64(b), le.Uint64(b[16:])
			if !second && addend == t.addr && len(wanted) < maxLikely {
				wanted[off+8*moduleTextWord] = true
			}
			if second && wanted[off] && t.o.Executable(addend) {
				text, ok = addend, true
				return errFound
			}
			return nil
		})
		if len(wanted) == 0 || ok {
			break
		}
	}
	return text, ok
}
