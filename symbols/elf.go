package symbols

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// ErrFormat is wrapped by errors about files that are no ELF objects, or
// damaged ones.
var ErrFormat = errors.New("not a valid ELF object")

// Sizes of 64-bit ELF structures.
const (
	ehdrSize = 64
	phdrSize = 56
	shdrSize = 64
	symSize  = 24
)

// How much is read of one part of a file, and how many headers there may be: the kernel
// takes 64 KiB of program headers (load_elf_phdrs, fs/binfmt_elf.c), and linkers make
// some forty sections.
const (
	maxPart     = 1 << 30
	maxSegments = 1 << 16 / phdrSize
	maxSections = 1 << 16
	maxDynamic  = 1 << 20
)

// object is one 64-bit little-endian ELF file, headers only.
type object struct {
	r        io.ReaderAt
	size     int64
	budget   *budget
	typ      elf.Type
	machine  elf.Machine
	entry    arch.Addr
	segments []segment
	sections []section
	loaded   []section // sections that have addresses when loaded, by these
	code     []segment // executable segments, by their addresses
}

// segment is a program header.
type segment struct {
	typ                     elf.ProgType
	flags                   elf.ProgFlag
	off, vaddr, filesz, mem uint64
}

// section is a section header.
type section struct {
	name                 string
	typ                  elf.SectionType
	flags                elf.SectionFlag
	addr, off, size      uint64
	link, nameOff, index uint32
}

func (s section) contains(a uint64) bool { return a >= s.addr && a-s.addr < s.size }

// newObject reads the headers. Damaged section headers are treated as if the
// file had none: it runs without them.
func newObject(r io.ReaderAt, size int64) (*object, error) {
	o := &object{r: r, size: size, budget: new(budget)}
	h, err := o.read(0, ehdrSize)
	if err != nil {
		return nil, fmt.Errorf("%w: shorter than an ELF header", ErrFormat)
	}
	if !bytes.HasPrefix(h, []byte(elf.ELFMAG)) {
		return nil, fmt.Errorf("%w: no ELF magic", ErrFormat)
	}
	if elf.Class(h[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(h[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("%w: %w", ErrFormat, failure.Unsupportedf("%v %v, not 64-bit little-endian", elf.Class(h[elf.EI_CLASS]), elf.Data(h[elf.EI_DATA])))
	}
	le := binary.LittleEndian
	o.typ, o.machine = elf.Type(le.Uint16(h[16:])), elf.Machine(le.Uint16(h[18:]))
	o.entry = arch.Addr(le.Uint64(h[24:]))
	if o.segments, err = o.readSegments(le.Uint64(h[32:]), uint64(le.Uint16(h[54:])), uint64(le.Uint16(h[56:]))); err != nil {
		return nil, err
	}
	o.sections = o.readSections(le.Uint64(h[40:]), uint64(le.Uint16(h[58:])), uint64(le.Uint16(h[60:])), uint32(le.Uint16(h[62:])))
	o.index()
	return o, nil
}

// index sorts what is looked for by its address.
func (o *object) index() {
	for _, s := range o.sections {
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_TLS == 0 {
			o.loaded = append(o.loaded, s)
		}
	}
	slices.SortStableFunc(o.loaded, func(a, b section) int { return cmp.Compare(a.addr, b.addr) })
	for _, s := range o.segments {
		if s.typ == elf.PT_LOAD && s.flags&elf.PF_X != 0 {
			o.code = append(o.code, s)
		}
	}
	slices.SortStableFunc(o.code, func(a, b segment) int { return cmp.Compare(a.vaddr, b.vaddr) })
}

// read returns n bytes at off, or io.ErrUnexpectedEOF if the file has less.
func (o *object) read(off, n uint64) ([]byte, error) {
	if n > maxPart || off > uint64(o.size) || n > uint64(o.size)-off {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	return b, o.fill(b, off)
}

// fill reads what b has room for.
func (o *object) fill(b []byte, off uint64) error {
	if got, err := o.r.ReadAt(b, int64(off)); got < len(b) {
		return fmt.Errorf("read %d bytes at %#x: %w", len(b), off, noEOF(err))
	}
	return nil
}

func (o *object) readSegments(off, entsize, n uint64) ([]segment, error) {
	if n == 0 {
		return nil, nil
	}
	if n > maxSegments {
		return nil, fmt.Errorf("%w: %d program headers", ErrFormat, n)
	}
	if entsize != phdrSize {
		return nil, fmt.Errorf("%w: program headers of %d bytes", ErrFormat, entsize)
	}
	b, err := o.read(off, n*phdrSize)
	if err != nil {
		return nil, fmt.Errorf("%w: program headers: %w", ErrFormat, err)
	}
	le := binary.LittleEndian
	segs := make([]segment, n)
	for i := range segs {
		p := b[i*phdrSize:]
		segs[i] = segment{typ: elf.ProgType(le.Uint32(p)), flags: elf.ProgFlag(le.Uint32(p[4:])), off: le.Uint64(p[8:]),
			vaddr: le.Uint64(p[16:]), filesz: le.Uint64(p[32:]), mem: le.Uint64(p[40:])}
	}
	return segs, nil
}

func (o *object) readSections(off, entsize, n uint64, names uint32) []section {
	if off == 0 || entsize != shdrSize {
		return nil
	}
	first, err := o.read(off, shdrSize)
	if err != nil {
		return nil
	}
	// More than 0xff00 sections: the numbers are in section 0 (gABI).
	if n == 0 {
		n = binary.LittleEndian.Uint64(first[32:])
	}
	if names == uint32(elf.SHN_XINDEX) {
		names = binary.LittleEndian.Uint32(first[40:])
	}
	if n > maxSections {
		return nil
	}
	b, err := o.read(off, n*shdrSize)
	if err != nil {
		return nil
	}
	le := binary.LittleEndian
	secs := make([]section, n)
	for i := range secs {
		p := b[i*shdrSize:]
		secs[i] = section{nameOff: le.Uint32(p), typ: elf.SectionType(le.Uint32(p[4:])), flags: elf.SectionFlag(le.Uint64(p[8:])),
			addr: le.Uint64(p[16:]), off: le.Uint64(p[24:]), size: le.Uint64(p[32:]), link: le.Uint32(p[40:]), index: uint32(i)}
		if secs[i].typ != elf.SHT_NOBITS { // it has no more bytes than the file, whatever it says
			secs[i].size = min(secs[i].size, uint64(o.size)-min(secs[i].off, uint64(o.size)))
		}
	}
	if int(names) < len(secs) {
		nameSections(o, secs, secs[names])
	}
	return secs
}

func nameSections(o *object, secs []section, names section) {
	b, err := o.data(names)
	if err != nil {
		return
	}
	text := string(b)
	for i := range secs {
		secs[i].name = nameIn(text, uint64(secs[i].nameOff))
	}
}

// maxName is the longest name there is: a longer one is read as none. Any number of names
// may be the ends of one, and each costs its length.
const maxName = 1 << 16

// nameIn is the NUL-terminated string at off in text, a part of it, "" if there is none.
func nameIn(text string, off uint64) string {
	if off >= uint64(len(text)) {
		return ""
	}
	text = text[off:min(uint64(len(text)), off+maxName)]
	return text[:max(0, strings.IndexByte(text, 0))]
}

// cstring is a copy of the NUL-terminated string at off in text, "" if there is none.
func cstring(text []byte, off uint64) string {
	if off >= uint64(len(text)) {
		return ""
	}
	text = text[off:min(uint64(len(text)), off+maxName)]
	return string(text[:max(0, bytes.IndexByte(text, 0))])
}

// section finds the first section of one of the given names that has bytes.
func (o *object) section(names ...string) (section, bool) {
	for _, s := range o.sections {
		for _, name := range names {
			if s.name == name && s.typ != elf.SHT_NOBITS {
				return s, true
			}
		}
	}
	return section{}, false
}

// sectionOf finds the section that an address lies in when loaded.
func (o *object) sectionOf(a uint64) (section, bool) {
	return around(o.loaded, a, func(s section) uint64 { return s.addr }, section.contains)
}

// maxOverlap is how many parts that begin at an address or before are looked at for one
// that it lies in: they do not lie over each other, but for what nobody makes.
const maxOverlap = 16

// around finds the part that an address lies in, of those sorted by where they begin.
func around[P any](parts []P, a uint64, start func(P) uint64, contains func(P, uint64) bool) (part P, ok bool) {
	i := sort.Search(len(parts), func(i int) bool { return start(parts[i]) > a })
	for n := 0; i > 0 && n < maxOverlap; n++ {
		i--
		if contains(parts[i], a) {
			return parts[i], true
		}
	}
	return part, false
}

// data is the content of a section that is a table.
func (o *object) data(s section) ([]byte, error) {
	if s.typ == elf.SHT_NOBITS {
		return nil, nil
	}
	if !o.dense(s.off, s.size) {
		return nil, fmt.Errorf("a table of %d bytes, most of them not on the disk: %w", s.size, ErrBudget)
	}
	return o.read(s.off, s.size)
}
