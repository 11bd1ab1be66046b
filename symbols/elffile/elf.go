package elffile

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
	MaxPart     = 1 << 30
	maxSegments = 1 << 16 / phdrSize
	maxSections = 1 << 16
	maxDynamic  = 1 << 20
)

// Object is one 64-bit little-endian ELF file, headers only.
type Object struct {
	Reader   io.ReaderAt
	Size     int64
	Budget   *Budget
	Type     elf.Type
	Machine  elf.Machine
	Entry    arch.Addr
	Segments []Segment
	Sections []Section
	loaded   []Section // sections that have addresses when loaded, by these
	Code     []Segment // executable segments, by their addresses
}

// Segment is a program header.
type Segment struct {
	Type                    elf.ProgType
	Flags                   elf.ProgFlag
	Off, Vaddr, Filesz, Mem uint64
}

// Section is a section header.
type Section struct {
	Name                 string
	Type                 elf.SectionType
	flags                elf.SectionFlag
	Addr, Off, Size      uint64
	link, nameOff, index uint32
}

// Contains reports whether an address lies in the section.
func (s Section) Contains(a uint64) bool { return a >= s.Addr && a-s.Addr < s.Size }

// Compressed reports whether the section's bytes are compressed.
func (s Section) Compressed() bool { return s.flags&elf.SHF_COMPRESSED != 0 }

// New reads the headers. Damaged section headers are treated as if the
// file had none: it runs without them.
func New(r io.ReaderAt, size int64) (*Object, error) {
	o := &Object{Reader: r, Size: size, Budget: new(Budget)}
	h, err := o.Read(0, ehdrSize)
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
	o.Type, o.Machine = elf.Type(le.Uint16(h[16:])), elf.Machine(le.Uint16(h[18:]))
	o.Entry = arch.Addr(le.Uint64(h[24:]))
	if o.Segments, err = o.readSegments(le.Uint64(h[32:]), uint64(le.Uint16(h[54:])), uint64(le.Uint16(h[56:]))); err != nil {
		return nil, err
	}
	o.Sections = o.readSections(le.Uint64(h[40:]), uint64(le.Uint16(h[58:])), uint64(le.Uint16(h[60:])), uint32(le.Uint16(h[62:])))
	o.index()
	return o, nil
}

// index sorts what is looked for by its address.
func (o *Object) index() {
	for _, s := range o.Sections {
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_TLS == 0 {
			o.loaded = append(o.loaded, s)
		}
	}
	slices.SortStableFunc(o.loaded, func(a, b Section) int { return cmp.Compare(a.Addr, b.Addr) })
	for _, s := range o.Segments {
		if s.Type == elf.PT_LOAD && s.Flags&elf.PF_X != 0 {
			o.Code = append(o.Code, s)
		}
	}
	slices.SortStableFunc(o.Code, func(a, b Segment) int { return cmp.Compare(a.Vaddr, b.Vaddr) })
}

// Read returns n bytes at off, or io.ErrUnexpectedEOF if the file has less.
func (o *Object) Read(off, n uint64) ([]byte, error) {
	if n > MaxPart || off > uint64(o.Size) || n > uint64(o.Size)-off {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	return b, o.fill(b, off)
}

// fill reads what b has room for.
func (o *Object) fill(b []byte, off uint64) error {
	if got, err := o.Reader.ReadAt(b, int64(off)); got < len(b) {
		return fmt.Errorf("read %d bytes at %#x: %w", len(b), off, NoEOF(err))
	}
	return nil
}

func (o *Object) readSegments(off, entsize, n uint64) ([]Segment, error) {
	if n == 0 {
		return nil, nil
	}
	if n > maxSegments {
		return nil, fmt.Errorf("%w: %d program headers", ErrFormat, n)
	}
	if entsize != phdrSize {
		return nil, fmt.Errorf("%w: program headers of %d bytes", ErrFormat, entsize)
	}
	b, err := o.Read(off, n*phdrSize)
	if err != nil {
		return nil, fmt.Errorf("%w: program headers: %w", ErrFormat, err)
	}
	le := binary.LittleEndian
	segs := make([]Segment, n)
	for i := range segs {
		p := b[i*phdrSize:]
		segs[i] = Segment{Type: elf.ProgType(le.Uint32(p)), Flags: elf.ProgFlag(le.Uint32(p[4:])), Off: le.Uint64(p[8:]),
			Vaddr: le.Uint64(p[16:]), Filesz: le.Uint64(p[32:]), Mem: le.Uint64(p[40:])}
	}
	return segs, nil
}

func (o *Object) readSections(off, entsize, n uint64, names uint32) []Section {
	if off == 0 || entsize != shdrSize {
		return nil
	}
	first, err := o.Read(off, shdrSize)
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
	b, err := o.Read(off, n*shdrSize)
	if err != nil {
		return nil
	}
	le := binary.LittleEndian
	secs := make([]Section, n)
	for i := range secs {
		p := b[i*shdrSize:]
		secs[i] = Section{nameOff: le.Uint32(p), Type: elf.SectionType(le.Uint32(p[4:])), flags: elf.SectionFlag(le.Uint64(p[8:])),
			Addr: le.Uint64(p[16:]), Off: le.Uint64(p[24:]), Size: le.Uint64(p[32:]), link: le.Uint32(p[40:]), index: uint32(i)}
		if secs[i].Type != elf.SHT_NOBITS { // it has no more bytes than the file, whatever it says
			secs[i].Size = min(secs[i].Size, uint64(o.Size)-min(secs[i].Off, uint64(o.Size)))
		}
	}
	if int(names) < len(secs) {
		nameSections(o, secs, secs[names])
	}
	return secs
}

func nameSections(o *Object, secs []Section, names Section) {
	b, err := o.Data(names)
	if err != nil {
		return
	}
	text := string(b)
	for i := range secs {
		secs[i].Name = NameIn(text, uint64(secs[i].nameOff))
	}
}

// maxName is the longest name there is: a longer one is read as none. Any number of names
// may be the ends of one, and each costs its length.
const maxName = 1 << 16

// NameIn is the NUL-terminated string at off in text, a part of it, "" if there is none.
func NameIn(text string, off uint64) string {
	if off >= uint64(len(text)) {
		return ""
	}
	text = text[off:min(uint64(len(text)), off+maxName)]
	return text[:max(0, strings.IndexByte(text, 0))]
}

// CString is a copy of the NUL-terminated string at off in text, "" if there is none.
func CString(text []byte, off uint64) string {
	if off >= uint64(len(text)) {
		return ""
	}
	text = text[off:min(uint64(len(text)), off+maxName)]
	return string(text[:max(0, bytes.IndexByte(text, 0))])
}

// Section finds the first section of one of the given names that has bytes.
func (o *Object) Section(names ...string) (Section, bool) {
	for _, s := range o.Sections {
		for _, name := range names {
			if s.Name == name && s.Type != elf.SHT_NOBITS {
				return s, true
			}
		}
	}
	return Section{}, false
}

// SectionOf finds the section that an address lies in when loaded.
func (o *Object) SectionOf(a uint64) (Section, bool) {
	return around(o.loaded, a, func(s Section) uint64 { return s.Addr }, Section.Contains)
}

// maxOverlap is how many parts that begin at an address or before are looked at for one
// that it lies in: they do not lie over each other, but in files that no linker makes.
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

// Data is the content of a section that is a table.
func (o *Object) Data(s Section) ([]byte, error) {
	if s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	if !o.dense(s.Off, s.Size) {
		return nil, fmt.Errorf("a table of %d bytes, most of them not on the disk: %w", s.Size, ErrBudget)
	}
	return o.Read(s.Off, s.Size)
}

// ErrNotELF is wrapped by errors about mapped files of another kind.
var ErrNotELF = errors.New("not an ELF file")

// MustBeELF is nil for what begins as an ELF file does; the error of another file is ErrNotELF.
func MustBeELF(r io.ReaderAt) error {
	is, err := isELF(r)
	if err == nil && !is {
		err = ErrNotELF
	}
	return err
}

// isELF looks at the first bytes.
func isELF(r io.ReaderAt) (bool, error) {
	var magic [4]byte
	n, err := r.ReadAt(magic[:], 0)
	if n < len(magic) && err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == len(magic) && string(magic[:]) == "\x7fELF", nil
}
