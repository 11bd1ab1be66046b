package symbols

import (
	"debug/elf"
	"fmt"
	"sync"

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
	_, ok := o.codeAround(a)
	return ok
}

// codeAround is the executable segment that a lies in.
func (o *object) codeAround(a uint64) (segment, bool) {
	return around(o.code, a, func(s segment) uint64 { return s.vaddr }, func(s segment, a uint64) bool { return a-s.vaddr < s.filesz })
}

// Data lists what the program has of the file that it can write to.
func (f *File) Data() (list []Range) {
	for _, s := range f.obj.segments {
		if s.typ == elf.PT_LOAD && s.flags&elf.PF_W != 0 {
			list = append(list, Range{arch.Addr(s.vaddr), arch.Addr(s.vaddr + s.mem)})
		}
	}
	return list
}

// textEnd is the end of the code that a lies in: its section's, or without
// section headers its segment's.
func (o *object) textEnd(a uint64) uint64 {
	if s, ok := o.sectionOf(a); ok {
		return s.addr + s.size
	}
	if s, ok := o.codeAround(a); ok {
		return s.vaddr + s.filesz
	}
	return a
}

// Text reads original code: len(buf) bytes at vaddr of one executable segment,
// whole or not at all. What shares a segment's first and last page with it is
// mapped executable, too, and can be read.
func (f *File) Text(vaddr arch.Addr, buf []byte) error {
	if !f.lastText.copy(f.obj, uint64(vaddr), buf) && !f.obj.load(uint64(vaddr), buf, elf.PF_X) {
		return fmt.Errorf("%s: %d bytes at %s: %w", f.name, len(buf), vaddr, ErrNoText)
	}
	return nil
}

// lastText is the part of a file's code that was read last: functions are looked at
// by address, a little of each, and a read of its own costs as much as 100 of these.
type lastText struct {
	mu sync.Mutex
	at uint64
	b  []byte
}

// textChunk is how much is read at once.
const textChunk = 64 << 10

// copy fills buf with the code at an address; it fails where a chunk or a segment
// ends in between, and for what is large itself.
func (l *lastText) copy(o *object, a uint64, buf []byte) bool {
	n := uint64(len(buf))
	if n > textChunk/4 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a < l.at || a-l.at > uint64(len(l.b)) || n > uint64(len(l.b))-(a-l.at) {
		if !l.read(o, a, n) {
			return false
		}
	}
	copy(buf, l.b[a-l.at:])
	return true
}

// read reads the chunk that an address lies in, as far as its segment goes.
func (l *lastText) read(o *object, a, n uint64) bool {
	s, ok := o.span(a, n, elf.PF_X)
	if !ok || a < s.vaddr || s.off > uint64(o.size) {
		return false
	}
	from := max(s.vaddr, a&^(textChunk-1))
	skip := from - s.vaddr
	have := min(s.filesz, uint64(o.size)-s.off)
	if skip > have {
		return false
	}
	if l.b == nil {
		l.b = make([]byte, 0, textChunk)
	}
	l.at, l.b = from, l.b[:min(textChunk, have-skip)]
	if got, _ := o.r.ReadAt(l.b, int64(s.off+skip)); got < len(l.b) {
		l.b = l.b[:0]
	}
	return a-from <= uint64(len(l.b)) && n <= uint64(len(l.b))-(a-from)
}
