package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
)

// goTables are the sections that Go's table of functions may be in.
var goTables = []string{".gopclntab", ".data.rel.ro.gopclntab"}

// Magic numbers of the table's header (runtime/symtab.go, internal/abi).
const (
	magicGo12  = 0xfffffffb // 1.2 to 1.15
	magicGo116 = 0xfffffffa
	magicGo118 = 0xfffffff0
	magicGo120 = 0xfffffff1 // 1.20 and later
)

// goTable reads the functions of a Go program from the table that its runtime
// needs: it is there even where symbols were stripped.
type goTable struct {
	o     *object
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

// newGoTable finds the table by its section or, where there are no section
// headers, by its magic number.
func newGoTable(o *object) (*goTable, bool) {
	t, ok := findGoTable(o)
	return t, ok && o.budget.keep(uint64(len(t.b))) == nil
}

func findGoTable(o *object) (*goTable, bool) {
	if s, ok := o.section(goTables...); ok {
		b, err := o.data(s)
		if err != nil {
			return nil, false
		}
		return parseGoTable(o, s.addr, b)
	}
	if _, isGo := o.note("Go", goBuildID); !isGo && len(o.sections) > 0 {
		return nil, false
	}
	return searchGoTable(o)
}

// maxLikely is how many places are tried that look like the table's start.
const maxLikely = 64

// searchGoTable looks for a header at all multiples of 8 of loaded data.
func searchGoTable(o *object) (*goTable, bool) {
	left := maxLikely
	for _, s := range o.loads() {
		b, err := o.data(section{off: s.off, size: s.filesz})
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
			if at > 0 && (s.vaddr+at-1)%8 == 0 && looksLikeGo(b[at-1:]) {
				if t, ok := parseGoTable(o, s.vaddr+at-1, b[at-1:]); ok {
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

// parseGoTable reads the header, and the words behind its first.
func parseGoTable(o *object, addr uint64, b []byte) (*goTable, bool) {
	if !looksLikeGo(b) {
		return nil, false
	}
	t := &goTable{o: o, addr: addr, b: b, magic: binary.LittleEndian.Uint32(b), width: 8}
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
	return t, o.executable(first)
}

// word is the i-th word behind the first 8 bytes.
func (t *goTable) word(i int) uint64 {
	if 8+8*i+8 > len(t.b) {
		return 0
	}
	return binary.LittleEndian.Uint64(t.b[8+8*i:])
}

// from is the part of the table that begins at the offset in a word.
func (t *goTable) from(i int) []byte {
	off := t.word(i)
	if off == 0 || off >= uint64(len(t.b)) {
		return nil
	}
	return t.b[off:]
}

// entry is where the i-th function starts, and where its data is. Behind the
// last one is an end mark with an address only.
func (t *goTable) entry(i uint64) (addr, data uint64) {
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

func (t *goTable) each(yield func(symbol)) error {
	names := textOf(t.names)
	told := 0
	for i := range t.n {
		addr, off := t.entry(i)
		end, _ := t.entry(i + 1)
		at := off + uint64(t.entryWidth())
		if !t.o.executable(addr) || at+4 > uint64(len(t.data)) || at < off {
			continue
		}
		nameOff := binary.LittleEndian.Uint32(t.data[at:])
		name := nameIn(names, uint64(nameOff))
		if name == "" {
			continue
		}
		told++
		yield(symbol{name: name, addr: addr, size: end - min(end, addr)})
	}
	if told == 0 {
		return errGoTable
	}
	return nil
}

// entryWidth is how long the entry is before the name in a function's data.
func (t *goTable) entryWidth() int { return t.width }

func (t *goTable) named(_ string, _ bool, accept func(string) bool, yield func(symbol)) error {
	return t.each(func(s symbol) {
		if accept(s.name) {
			yield(s)
		}
	})
}

func (t *goTable) near(at []uint64, yield func(symbol)) error {
	wanted := make(map[uint64]bool, len(at))
	for _, a := range at {
		wanted[a] = true
	}
	return t.each(func(s symbol) {
		if wanted[s.addr] {
			yield(s)
		}
	})
}

// textStart is the address of runtime.text. The header had it until Go 1.25,
// unrelocated in position-independent programs; else it is in the runtime's
// moduledata; else the text section is all Go.
func (t *goTable) textStart(header uint64) uint64 {
	if header != 0 && t.o.executable(header) {
		return header
	}
	if a, ok := t.moduleText(); ok {
		return a
	}
	if s, ok := t.o.section(".text"); ok {
		return s.addr
	}
	return header
}

// moduleTextWord is the word of runtime.moduledata that holds runtime.text:
// behind a pointer to the table, six slices, and three words (since Go 1.16).
const moduleTextWord = 1 + 6*3 + 3

// moduleText finds moduledata by its first word, a pointer to the table: in
// the data, or in the relocations that will put it there.
func (t *goTable) moduleText() (a uint64, ok bool) {
	var ptr [8]byte
	binary.LittleEndian.PutUint64(ptr[:], t.addr)
	const word, more = 8, 8 * moduleTextWord
	for _, s := range t.o.dataParts() {
		if s.typ == elf.SHT_RELA {
			if a, ok := t.relocatedText(s); ok {
				return a, true
			}
		}
		left := uint64(maxPart)
		_ = t.o.windows(s.off, s.size, word-1+more, &left, func(off uint64, b []byte, n int) error {
			for at := int((word - (off-s.off)%word) % word); at < n && at+word+more <= len(b); at += word {
				if bytes.Equal(b[at:at+word], ptr[:]) {
					if a = binary.LittleEndian.Uint64(b[at+more:]); t.o.executable(a) {
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

// dataParts are the sections loaded as data or, without section headers, the
// segments, as if they were sections: no more than the file has, for those of one file
// do not lie over each other.
func (o *object) dataParts() (parts []section) {
	left := uint64(o.size)
	for _, s := range o.sections {
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_EXECINSTR == 0 && s.typ != elf.SHT_NOBITS && s.size <= left {
			parts, left = append(parts, s), left-s.size
		}
	}
	if len(o.sections) > 0 {
		return parts
	}
	for _, s := range o.loads() {
		if s.flags&elf.PF_X == 0 {
			parts = append(parts, section{addr: s.vaddr, off: s.off, size: s.filesz})
		}
	}
	return parts
}

// loads are the segments that are loaded, as far as the file has them, and no more than
// it has.
func (o *object) loads() (list []segment) {
	left := uint64(o.size)
	for _, s := range o.segments {
		s.filesz = min(s.filesz, uint64(o.size)-min(s.off, uint64(o.size)))
		if s.typ == elf.PT_LOAD && s.filesz <= left {
			list, left = append(list, s), left-s.filesz
		}
	}
	return list
}

// relocatedText does it with relocations: offset, info, addend, of which the
// relative ones put addend + bias at offset.
func (t *goTable) relocatedText(s section) (text uint64, ok bool) {
	le := binary.LittleEndian
	wanted := map[uint64]bool{}
	for _, second := range []bool{false, true} {
		left := uint64(maxPart)
		_ = t.o.records(s.off, s.size, relaSize, &left, func(b []byte) error {
			off, addend := le.Uint64(b), le.Uint64(b[16:])
			if !second && addend == t.addr && len(wanted) < maxLikely {
				wanted[off+8*moduleTextWord] = true
			}
			if second && wanted[off] && t.o.executable(addend) {
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
