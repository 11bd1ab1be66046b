package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ptracer/ptracer/arch"
)

// ErrFormat is wrapped by errors about files that are no ELF objects, or
// damaged ones.
var ErrFormat = errors.New("not a valid ELF object")

// Sizes of 64-bit ELF structures, and what we are ready to keep in memory of
// one part of a file.
const (
	ehdrSize = 64
	phdrSize = 56
	shdrSize = 64
	symSize  = 24

	maxPart    = 1 << 30
	maxHeaders = 1 << 20
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
		return nil, fmt.Errorf("%w: %v %v, not 64-bit little-endian: %w", ErrFormat,
			elf.Class(h[elf.EI_CLASS]), elf.Data(h[elf.EI_DATA]), arch.ErrUnsupported)
	}
	le := binary.LittleEndian
	o.typ, o.machine = elf.Type(le.Uint16(h[16:])), elf.Machine(le.Uint16(h[18:]))
	o.entry = arch.Addr(le.Uint64(h[24:]))
	if o.segments, err = o.readSegments(le.Uint64(h[32:]), uint64(le.Uint16(h[54:])), uint64(le.Uint16(h[56:]))); err != nil {
		return nil, err
	}
	o.sections = o.readSections(le.Uint64(h[40:]), uint64(le.Uint16(h[58:])), uint64(le.Uint16(h[60:])), uint32(le.Uint16(h[62:])))
	return o, nil
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
	if n > maxHeaders {
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
	text, err := o.read(names.off, names.size)
	if err != nil {
		return
	}
	for i := range secs {
		secs[i].name = cstring(text, uint64(secs[i].nameOff))
	}
}

// cstring is the NUL-terminated string at off in text, "" if there is none.
func cstring(text []byte, off uint64) string {
	if off >= uint64(len(text)) {
		return ""
	}
	n := bytes.IndexByte(text[off:], 0)
	if n < 0 {
		return ""
	}
	return string(text[off : off+uint64(n)])
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
	for _, s := range o.sections {
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_TLS == 0 && s.contains(a) {
			return s, true
		}
	}
	return section{}, false
}

// data is the content of a section.
func (o *object) data(s section) ([]byte, error) {
	if s.typ == elf.SHT_NOBITS {
		return nil, nil
	}
	return o.read(s.off, s.size)
}
