package elffile

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
)

// Bias is how far m's file was moved to lie where m is.
func (o *Object) Bias(m procfs.Mapping) (arch.Addr, bool) {
	for _, executable := range []bool{true, false} {
		for _, s := range o.Segments {
			if s.Type != elf.PT_LOAD || executable != (s.Flags&elf.PF_X != 0) {
				continue
			}
			s = s.Pages()
			if m.Offset >= s.Off && m.Offset-s.Off < max(s.Filesz, 1) {
				return m.Start - arch.Addr(s.Vaddr+m.Offset-s.Off), true
			}
		}
	}
	return 0, false
}

// Extent is from the first page of the first segment to the last of the last.
func (o *Object) Extent() (start, end arch.Addr) {
	start = ^arch.Addr(0)
	for _, s := range o.Segments {
		if s.Type == elf.PT_LOAD {
			start = min(start, arch.Addr(s.Vaddr&^(PageSize-1)))
			end = max(end, arch.Addr((s.Vaddr+s.Mem+PageSize-1)&^(PageSize-1)))
		}
	}
	return start, max(start, end)
}

// DataParts are the sections loaded as data or, without section headers, the
// segments, as if they were sections: no more than the file has, for those of one file
// do not lie over each other.
func (o *Object) DataParts() (parts []Section) {
	left := uint64(o.Size)
	for _, s := range o.Sections {
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_EXECINSTR == 0 && s.Type != elf.SHT_NOBITS && s.Size <= left {
			parts, left = append(parts, s), left-s.Size
		}
	}
	if len(o.Sections) > 0 {
		return parts
	}
	for _, s := range o.Loads() {
		if s.Flags&elf.PF_X == 0 {
			parts = append(parts, Section{Addr: s.Vaddr, Off: s.Off, Size: s.Filesz})
		}
	}
	return parts
}

// Loads are the segments that are loaded, as far as the file has them, and no more than
// it has.
func (o *Object) Loads() (list []Segment) {
	left := uint64(o.Size)
	for _, s := range o.Segments {
		s.Filesz = min(s.Filesz, uint64(o.Size)-min(s.Off, uint64(o.Size)))
		if s.Type == elf.PT_LOAD && s.Filesz <= left {
			list, left = append(list, s), left-s.Filesz
		}
	}
	return list
}

// PageSize is the smallest page: segments are mapped in whole ones.
const PageSize = 4096

// Span finds the segment with flags that has n bytes at a. Segments are mapped
// in whole pages, so that what lies in the file around a segment can be seen
// (and executed) too, up to the page's ends.
func (o *Object) Span(a, n uint64, flags elf.ProgFlag) (s Segment, ok bool) {
	for _, exact := range []bool{true, false} {
		for _, s := range o.Segments {
			if s.Type != elf.PT_LOAD || s.Flags&flags != flags {
				continue
			}
			if !exact {
				s = s.Pages()
			}
			if a >= s.Vaddr && a-s.Vaddr <= s.Filesz && n <= s.Filesz-(a-s.Vaddr) {
				return s, true
			}
		}
	}
	return s, false
}

// Pages is s as it is mapped: grown to page ends.
func (s Segment) Pages() Segment {
	before := min(s.Vaddr%PageSize, s.Off)
	s.Vaddr, s.Off = s.Vaddr-before, s.Off-before
	s.Filesz += before
	if rest := (s.Vaddr + s.Filesz) % PageSize; rest != 0 && s.Mem+before == s.Filesz {
		s.Filesz += PageSize - rest
	}
	return s
}

// Load reads loaded bytes of a segment with flags: those of the file, and
// zeros behind its end.
func (o *Object) Load(a uint64, buf []byte, flags elf.ProgFlag) bool {
	s, ok := o.Span(a, uint64(len(buf)), flags)
	if !ok {
		return false
	}
	off := s.Off + (a - s.Vaddr)
	if off < s.Off || off > uint64(o.Size) {
		return false
	}
	n := min(uint64(len(buf)), uint64(o.Size)-off)
	if got, _ := o.Reader.ReadAt(buf[:n], int64(off)); uint64(got) < n {
		return false
	}
	clear(buf[n:])
	return true
}

// Executable reports whether a lies in an executable segment.
func (o *Object) Executable(a uint64) bool {
	_, ok := o.CodeAround(a)
	return ok
}

// CodeAround is the executable segment that a lies in.
func (o *Object) CodeAround(a uint64) (Segment, bool) {
	return around(o.Code, a, func(s Segment) uint64 { return s.Vaddr }, func(s Segment, a uint64) bool { return a-s.Vaddr < s.Filesz })
}

// TextEnd is the end of the code that a lies in: its section's, or without
// section headers its segment's.
func (o *Object) TextEnd(a uint64) uint64 {
	if s, ok := o.SectionOf(a); ok {
		return s.Addr + s.Size
	}
	if s, ok := o.CodeAround(a); ok {
		return s.Vaddr + s.Filesz
	}
	return a
}
