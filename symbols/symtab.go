package symbols

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
)

// symbol is one entry of some table, as far as functions are concerned.
type symbol struct {
	name       string // without version
	addr, size uint64
	local      bool
	ifunc      bool
	label      bool // no type: hand-written assembly, or a label inside of it
	weak       bool
}

// source is a table of symbols.
type source interface {
	// each yields all functions.
	each(yield func(symbol)) error
	// named yields at least the functions whose name contains part and is
	// one that accept accepts. Exact says that accept wants part itself.
	named(part string, exact bool, accept func(string) bool, yield func(symbol)) error
	// near yields at least the functions at a's addresses, and around each
	// address those that say where it ends and what it belongs to.
	near(at []uint64, yield func(symbol)) error
}

// symtab is a symbol table in a file.
type symtab struct {
	o          *object // where the table is
	main       *object // whose functions they are
	syms, strs section
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
func (t *symtab) scan(yield func(e entry) error) error {
	return t.entries(func(e entry) error {
		if !t.isCode(e) {
			return nil
		}
		return yield(e)
	})
}

// entries hands over every raw symbol; it is overwritten later.
func (t *symtab) entries(yield func(e entry) error) error {
	left := uint64(maxSymbols * symSize)
	err := t.o.records(t.syms.off, t.syms.size, symSize, &left, func(b []byte) error { return yield(entry(b)) })
	if err != nil {
		return fmt.Errorf("symbol table: %w", err)
	}
	return nil
}

// isCode tells functions, and labels in code, from everything else.
func (t *symtab) isCode(e entry) bool {
	switch elf.ST_TYPE(e.info()) {
	case elf.STT_FUNC, elf.STT_GNU_IFUNC, elf.STT_NOTYPE:
	default:
		return false
	}
	n := elf.SectionIndex(e.shndx())
	if n == elf.SHN_UNDEF || e.name() == 0 || !t.main.executable(e.value()) {
		return false
	}
	if int(n) < len(t.o.sections) {
		s := t.o.sections[n]
		return s.flags&elf.SHF_EXECINSTR != 0 && e.value()-s.addr < s.size && !isPLT(s.name)
	}
	return n == elf.SHN_XINDEX || len(t.o.sections) == 0
}

// isPLT knows the sections of linkage stubs.
func isPLT(section string) bool {
	return section == ".iplt" || section == ".plt" || strings.HasPrefix(section, ".plt.")
}

// symbol makes e a symbol with the given name; ok is false for labels that are
// no functions by their name.
func (e entry) symbol(name string) (s symbol, ok bool) {
	typ := elf.ST_TYPE(e.info())
	s = symbol{name: unversioned(name), addr: e.value(), size: e.size(), ifunc: typ == elf.STT_GNU_IFUNC,
		local: elf.ST_BIND(e.info()) == elf.STB_LOCAL, weak: elf.ST_BIND(e.info()) == elf.STB_WEAK,
		label: typ == elf.STT_NOTYPE}
	return s, name != "" && !(s.label && (isMapping(name) || strings.HasPrefix(name, ".L")))
}

// isMapping knows the labels that tell code from data on arm64 ($x, $d.12).
func isMapping(name string) bool {
	return len(name) >= 2 && name[0] == '$' && strings.IndexByte("xdat", name[1]) >= 0 && (len(name) == 2 || name[2] == '.')
}

// unversioned cuts foo@@GLIBC_2.2.5 to foo.
func unversioned(name string) string {
	if i := strings.IndexByte(name, '@'); i > 0 {
		return name[:i]
	}
	return name
}

func (t *symtab) each(yield func(symbol)) error {
	b, err := t.o.data(t.strs)
	if err != nil {
		return fmt.Errorf("names of symbols: %w", err)
	}
	text := textOf(b)
	return t.scan(func(e entry) error {
		if s, ok := e.symbol(nameIn(text, uint64(e.name()))); ok {
			yield(s)
		}
		return nil
	})
}

// named looks for the names in the raw strings first, then for the symbols
// that have them: nothing is kept of the millions of others.
func (t *symtab) named(part string, exact bool, accept func(string) bool, yield func(symbol)) error {
	if exact && t.hash != nil {
		return t.hash.find(t, part, yield)
	}
	names, err := t.strings(part, exact)
	if err != nil || len(names) == 0 {
		return err
	}
	return t.scan(func(e entry) error {
		if name, ok := names.at(e.name()); ok {
			if s, ok := e.symbol(name); ok && accept(s.name) {
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
func (t *symtab) strings(part string, exact bool) (found spelled, err error) {
	size := min(t.strs.size, maxPart, uint64(t.o.size))
	buf := make([]byte, min(size, chunkStrings+2*maxName))
	for off := uint64(0); off < size; off += chunkStrings {
		if next := t.o.nextData(t.strs.off + off); next >= t.strs.off+off+chunkStrings {
			off = (next - t.strs.off) / chunkStrings * chunkStrings
			if off >= size {
				break
			}
		}
		// The chunk with some context: a string starts in the chunk itself
		// or before, and ends behind.
		from := off - min(off, maxName)
		b := buf[:min(size-from, off-from+chunkStrings+maxName)]
		if err := t.o.fill(b, t.strs.off+from); err != nil {
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

// textOf is b as a string, without a copy: nothing may write to b any more.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func noEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
