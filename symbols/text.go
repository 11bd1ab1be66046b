package symbols

import (
	"debug/elf"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// pageSize is the smallest page: segments are mapped in whole ones.
const pageSize = 4096

// ErrNoText is wrapped by errors about addresses that are not in a file's
// executable segments.
var ErrNoText = fmt.Errorf("not in the file's code: %w", ErrNotFound)

// span finds the segment with flags that has n bytes at a. Segments are mapped
// in whole pages, so that what lies in the file around a segment can be seen
// (and executed) too, up to the page's ends.
func (o *object) span(a, n uint64, flags elf.ProgFlag) (s segment, ok bool) {
	for _, exact := range []bool{true, false} {
		for _, s := range o.segments {
			if s.typ != elf.PT_LOAD || s.flags&flags != flags {
				continue
			}
			if !exact {
				s = s.pages()
			}
			if a >= s.vaddr && a-s.vaddr <= s.filesz && n <= s.filesz-(a-s.vaddr) {
				return s, true
			}
		}
	}
	return s, false
}

// pages is s as it is mapped: grown to page ends.
func (s segment) pages() segment {
	before := min(s.vaddr%pageSize, s.off)
	s.vaddr, s.off = s.vaddr-before, s.off-before
	s.filesz += before
	if rest := (s.vaddr + s.filesz) % pageSize; rest != 0 && s.mem+before == s.filesz {
		s.filesz += pageSize - rest
	}
	return s
}

// load reads loaded bytes of a segment with flags: those of the file, and
// zeros behind its end.
func (o *object) load(a uint64, buf []byte, flags elf.ProgFlag) bool {
	s, ok := o.span(a, uint64(len(buf)), flags)
	if !ok {
		return false
	}
	off := s.off + (a - s.vaddr)
	if off < s.off || off > uint64(o.size) {
		return false
	}
	n := min(uint64(len(buf)), uint64(o.size)-off)
	if got, _ := o.r.ReadAt(buf[:n], int64(off)); uint64(got) < n {
		return false
	}
	clear(buf[n:])
	return true
}

// executable reports whether a lies in an executable segment.
func (o *object) executable(a uint64) bool {
	for _, s := range o.segments {
		if s.typ == elf.PT_LOAD && s.flags&elf.PF_X != 0 && a >= s.vaddr && a-s.vaddr < s.filesz {
			return true
		}
	}
	return false
}

// textEnd is the end of the code that a lies in: its section's, or without
// section headers its segment's.
func (o *object) textEnd(a uint64) uint64 {
	if s, ok := o.sectionOf(a); ok {
		return s.addr + s.size
	}
	for _, s := range o.segments {
		if s.typ == elf.PT_LOAD && s.flags&elf.PF_X != 0 && a >= s.vaddr && a-s.vaddr < s.filesz {
			return s.vaddr + s.filesz
		}
	}
	return a
}

// Text reads original code: len(buf) bytes at vaddr of one executable segment,
// whole or not at all. What shares a segment's first and last page with it is
// mapped executable, too, and can be read.
func (f *File) Text(vaddr arch.Addr, buf []byte) error {
	if !f.obj.load(uint64(vaddr), buf, elf.PF_X) {
		return fmt.Errorf("%s: %d bytes at %s: %w", f.name, len(buf), vaddr, ErrNoText)
	}
	return nil
}
