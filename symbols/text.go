package symbols

import (
	"debug/elf"
	"fmt"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// ErrNoText is wrapped by errors about addresses that are not in a file's
// executable segments.
var ErrNoText = fmt.Errorf("not in the file's code: %w", ErrNotFound)

// Data lists what the program has of the file that it can write to.
func (f *File) Data() (list []Range) {
	for _, s := range f.obj.Segments {
		if s.Type == elf.PT_LOAD && s.Flags&elf.PF_W != 0 {
			list = append(list, Range{arch.Addr(s.Vaddr), arch.Addr(s.Vaddr + s.Mem)})
		}
	}
	return list
}

// Text reads original code: len(buf) bytes at vaddr of one executable segment,
// whole or not at all. What shares a segment's first and last page with it is
// mapped executable, too, and can be read.
func (f *File) Text(vaddr arch.Addr, buf []byte) error {
	if !f.lastText.copy(f.obj, uint64(vaddr), buf) && !f.obj.Load(uint64(vaddr), buf, elf.PF_X) {
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
func (l *lastText) copy(o *elffile.Object, a uint64, buf []byte) bool {
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
func (l *lastText) read(o *elffile.Object, a, n uint64) bool {
	s, ok := o.Span(a, n, elf.PF_X)
	if !ok || a < s.Vaddr || s.Off > uint64(o.Size) {
		return false
	}
	from := max(s.Vaddr, a&^(textChunk-1))
	skip := from - s.Vaddr
	have := min(s.Filesz, uint64(o.Size)-s.Off)
	if skip > have {
		return false
	}
	if l.b == nil {
		l.b = make([]byte, 0, textChunk)
	}
	l.at, l.b = from, l.b[:min(textChunk, have-skip)]
	if got, _ := o.Reader.ReadAt(l.b, int64(s.Off+skip)); got < len(l.b) {
		l.b = l.b[:0]
	}
	return a-from <= uint64(len(l.b)) && n <= uint64(len(l.b))-(a-from)
}

// maxCode is how much code of a file is looked at: what direct calls reach on
// amd64, so that no compiler makes more.
const maxCode = 2 << 30

// Code hands over the code that is mapped executable, a window at a time, each with
// up to more bytes of what comes behind it; a window is overwritten by the next one.
// What is all zeros may be left out. The error wraps ErrBudget where there is more
// than any compiler makes.
func (f *File) Code(more int, yield func(at arch.Addr, code []byte)) error {
	left := uint64(maxCode)
	for _, s := range f.obj.Segments {
		if s.Type != elf.PT_LOAD || s.Flags&elf.PF_X == 0 {
			continue
		}
		s = s.Pages()
		err := f.obj.Windows(s.Off, s.Filesz, uint64(more), &left, func(off uint64, b []byte, _ int) error {
			yield(arch.Addr(s.Vaddr+off-s.Off), b)
			return nil
		})
		if err != nil {
			return fmt.Errorf("code of %s: %w", f.name, err)
		}
	}
	return nil
}
