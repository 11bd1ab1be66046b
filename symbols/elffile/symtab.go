package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
)

// ErrNoTable says that there is no further table, or none of this file.
var ErrNoTable = errors.New("no table")

// NewTable finds a table by its section's name in o.
func NewTable(o, main *Object, name string) (*Table, bool) {
	syms, ok := o.Section(name)
	if !ok || uint64(syms.link) >= uint64(len(o.Sections)) {
		return nil, false
	}
	t := &Table{o: o, main: main, syms: syms, strs: o.Sections[syms.link]}
	if name == ".dynsym" {
		t.hash = newHash(o)
	}
	return t, true
}

// Symbol is one entry of some table, as far as functions are concerned.
type Symbol struct {
	Name       string // without version
	Addr, Size uint64
	Local      bool
	Ifunc      bool
	Label      bool // no type: hand-written assembly, or a label inside of it
	weak       bool
}

// Source is a table of symbols.
type Source interface {
	// Each yields all functions.
	Each(yield func(Symbol)) error
	// Named yields at least the functions whose name contains part and is
	// one that accept accepts. Exact says that accept wants part itself.
	Named(part string, exact bool, accept func(string) bool, yield func(Symbol)) error
	// Near yields at least the functions at a's addresses, and around each
	// address those that say where it ends and what it belongs to.
	Near(at []uint64, yield func(Symbol)) error
}

// Table is a symbol table in a file.
type Table struct {
	o          *Object // where the table is
	main       *Object // that has the functions
	syms, strs Section
	hash       *hashTable // finds names, nil: none
}

// maxSymbols is how many a table may have: the largest programs have some millions.
const maxSymbols = 1 << 25

// entry is a raw symbol.
type entry []byte

func (e entry) name() uint32  { return binary.LittleEndian.Uint32(e) }
func (e entry) info() byte    { return e[4] }
func (e entry) shndx() uint16 { return binary.LittleEndian.Uint16(e[6:]) }
func (e entry) value() uint64 { return binary.LittleEndian.Uint64(e[8:]) }
func (e entry) size() uint64  { return binary.LittleEndian.Uint64(e[16:]) }

// scan hands over every raw symbol that can be a function; it is overwritten
// later.
func (t *Table) scan(yield func(e entry) error) error {
	return t.entries(func(e entry) error {
		if !t.isCode(e) {
			return nil
		}
		return yield(e)
	})
}

// entries hands over every raw symbol; it is overwritten later.
func (t *Table) entries(yield func(e entry) error) error {
	left := uint64(maxSymbols * symSize)
	err := t.o.Records(t.syms.Off, t.syms.Size, symSize, &left, func(b []byte) error { return yield(entry(b)) })
	if err != nil {
		return fmt.Errorf("symbol table: %w", err)
	}
	return nil
}

// isCode tells functions, and labels in code, from everything else.
func (t *Table) isCode(e entry) bool {
	switch elf.ST_TYPE(e.info()) {
	case elf.STT_FUNC, elf.STT_GNU_IFUNC, elf.STT_NOTYPE:
	default:
		return false
	}
	n := elf.SectionIndex(e.shndx())
	if n == elf.SHN_UNDEF || e.name() == 0 || !t.main.Executable(e.value()) {
		return false
	}
	if int(n) < len(t.o.Sections) {
		s := t.o.Sections[n]
		return s.flags&elf.SHF_EXECINSTR != 0 && e.value()-s.Addr < s.Size && !IsPLT(s.Name)
	}
	return n == elf.SHN_XINDEX || len(t.o.Sections) == 0
}

// IsPLT knows the sections of linkage stubs.
func IsPLT(section string) bool {
	return section == ".iplt" || section == ".plt" || strings.HasPrefix(section, ".plt.")
}

// symbol makes e a symbol with the given name; ok is false for labels that are
// no functions by their name.
func (e entry) symbol(name string) (s Symbol, ok bool) {
	typ := elf.ST_TYPE(e.info())
	s = Symbol{Name: Unversioned(name), Addr: e.value(), Size: e.size(), Ifunc: typ == elf.STT_GNU_IFUNC,
		Local: elf.ST_BIND(e.info()) == elf.STB_LOCAL, weak: elf.ST_BIND(e.info()) == elf.STB_WEAK,
		Label: typ == elf.STT_NOTYPE}
	return s, name != "" && !(s.Label && (isMapping(name) || strings.HasPrefix(name, ".L")))
}

// isMapping knows the labels that tell code from data on arm64 ($x, $d.12).
func isMapping(name string) bool {
	return len(name) >= 2 && name[0] == '$' && strings.IndexByte("xdat", name[1]) >= 0 && (len(name) == 2 || name[2] == '.')
}

// Unversioned cuts foo@@GLIBC_2.2.5 to foo.
func Unversioned(name string) string {
	if i := strings.IndexByte(name, '@'); i > 0 {
		return name[:i]
	}
	return name
}

// Each implements Source.
func (t *Table) Each(yield func(Symbol)) error {
	b, err := t.o.Data(t.strs)
	if err != nil {
		return fmt.Errorf("names of symbols: %w", err)
	}
	text := TextOf(b)
	return t.scan(func(e entry) error {
		if s, ok := e.symbol(NameIn(text, uint64(e.name()))); ok {
			yield(s)
		}
		return nil
	})
}

// Named looks for the names in the raw strings first, then for the symbols
// that have them: nothing is kept of the millions of others.
func (t *Table) Named(part string, exact bool, accept func(string) bool, yield func(Symbol)) error {
	if exact && t.hash != nil {
		return t.hash.find(t, part, yield)
	}
	names, err := t.strings(part, exact)
	if err != nil || len(names) == 0 {
		return err
	}
	return t.scan(func(e entry) error {
		if name, ok := names.at(e.name()); ok {
			if s, ok := e.symbol(name); ok && accept(s.Name) {
				yield(s)
			}
		}
		return nil
	})
}

// spelled are strings of a string table, by offset. A symbol's name may start
// anywhere in one: linkers let names share their ends.
type spelled []spelling

type spelling struct {
	off  uint32
	text string
}

// end is where the next string can begin.
func (s spelling) end() uint64 { return uint64(s.off) + uint64(len(s.text)) }

func (s spelled) at(off uint32) (string, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].off > off }) - 1
	if i < 0 || off-s[i].off >= uint32(len(s[i].text)) {
		return "", false
	}
	return s[i].text[off-s[i].off:], true
}

// chunkStrings is how much of a string table is read at once.
const chunkStrings = 1 << 20

// strings finds the strings that contain part, or of exact ones the ends that
// are part.
func (t *Table) strings(part string, exact bool) (found spelled, err error) {
	size := min(t.strs.Size, MaxPart, uint64(t.o.Size))
	buf := make([]byte, min(size, chunkStrings+2*maxName))
	for off := uint64(0); off < size; off += chunkStrings {
		if next := t.o.nextData(t.strs.Off + off); next >= t.strs.Off+off+chunkStrings {
			off = (next - t.strs.Off) / chunkStrings * chunkStrings
			if off >= size {
				break
			}
		}
		// The chunk with some context: a string starts in the chunk itself
		// or before, and ends behind.
		from := off - min(off, maxName)
		b := buf[:min(size-from, off-from+chunkStrings+maxName)]
		if err := t.o.fill(b, t.strs.Off+from); err != nil {
			return nil, fmt.Errorf("names of symbols: %w", err)
		}
		found.add(b, from, int(off-from), min(len(b), int(off-from+chunkStrings)), part, exact)
	}
	return found, nil
}

// add adds what is found in a chunk that lies at off, from one place in it to another. A
// string in which part is more than once is added once.
func (s *spelled) add(b []byte, off uint64, from, to int, part string, exact bool) {
	done := 0 // behind the last one
	if last := len(*s) - 1; last >= 0 {
		done = int((*s)[last].end() - min((*s)[last].end(), off))
	}
	occurrences(b, from, to, part, func(start, end int) {
		if exact {
			if end < len(b) && (b[end] == 0 || b[end] == '@') {
				*s = append(*s, spelling{uint32(off) + uint32(start), part})
			}
			return
		}
		if start < done {
			return
		}
		start = bytes.LastIndexByte(b[:start], 0) + 1
		n := bytes.IndexByte(b[end:], 0)
		if done = end + n; n < 0 {
			done = len(b)
		}
		if n >= 0 && done-start <= maxName {
			*s = append(*s, spelling{uint32(off) + uint32(start), string(b[start:done])})
		}
	})
}

// anchor is how much of a name is searched for: its end, which tells names
// apart better than the start, and not longer, which package bytes does fast.
const anchor = 16

// occurrences yields where part is in b, for every one whose last bytes begin
// in b[from:to].
func occurrences(b []byte, from, to int, part string, yield func(start, end int)) {
	tail := []byte(part[max(0, len(part)-anchor):])
	before := len(part) - len(tail)
	for pos := from; pos < to; pos++ {
		i := bytes.Index(b[pos:], tail)
		if i < 0 || pos+i >= to {
			return
		}
		pos += i
		if pos >= before && string(b[pos-before:pos]) == part[:before] {
			yield(pos-before, pos+len(tail))
		}
	}
}

// TextOf is b as a string, without a copy: nothing may write to b any more.
func TextOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// NoEOF is the error of a read that got less than it has to.
func NoEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Variable is where a variable of that name lies; 0: the table has no such name.
func (t *Table) Variable(name string) (at arch.Addr) {
	found, err := t.strings(name, true)
	if err != nil || len(found) == 0 {
		return 0
	}
	err = t.entries(func(e entry) error {
		if elf.ST_TYPE(e.info()) == elf.STT_OBJECT && e.shndx() != 0 {
			if s, ok := found.at(e.name()); ok && s == name {
				at = arch.Addr(e.value())
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return at
}
