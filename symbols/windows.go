package symbols

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/ptracer/ptracer/arch"
)

const (
	// window is how much of a large part is read at once.
	window = 1 << 20
	// maxCode is how much code of a file is looked at: what direct calls reach on
	// amd64, so that no compiler makes more.
	maxCode = 2 << 30
)

// Whence of lseek(2) that finds what a file has, and has not.
const seekData = 3

// nextData is the first place from off on where the file has bytes on the disk, its
// size if there is none. What lies before is zeros.
func (o *object) nextData(off uint64) uint64 {
	f, ok := o.r.(*os.File)
	if !ok {
		return off
	}
	next, err := f.Seek(int64(off), seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return uint64(o.size)
	case err != nil || uint64(next) < off:
		return off // a file system that does not tell
	}
	return uint64(next)
}

// windows hands over a part of the file, a window at a time, each with up to more
// bytes of what comes behind it; a window is overwritten by the next one. What the
// file does not have, and its holes, are left out; left is what may still be read.
func (o *object) windows(off, n, more uint64, left *uint64, yield func(off uint64, b []byte) error) error {
	end := off + min(n, uint64(o.size)-min(off, uint64(o.size)))
	var buf []byte
	for off < end {
		if off = max(off, min(end, o.nextData(off))); off == end {
			break
		}
		size := min(window, end-off)
		if size > *left {
			return fmt.Errorf("at offset %#x: %w", off, ErrBudget)
		}
		*left -= size
		if buf == nil {
			buf = make([]byte, min(window+more, end-off))
		}
		b := buf[:min(size+more, end-off)]
		if err := o.fill(b, off); err != nil {
			return err
		}
		if err := yield(off, b); err != nil {
			return err
		}
		off += size
	}
	return nil
}

// Code hands over the code that is mapped executable, a window at a time, each with
// up to more bytes of what comes behind it; a window is overwritten by the next one.
// What is all zeros may be left out. The error wraps ErrBudget where there is more
// than any compiler makes.
func (f *File) Code(more int, yield func(at arch.Addr, code []byte)) error {
	left := uint64(maxCode)
	for _, s := range f.obj.segments {
		if s.typ != elf.PT_LOAD || s.flags&elf.PF_X == 0 {
			continue
		}
		s = s.pages()
		err := f.obj.windows(s.off, s.filesz, uint64(more), &left, func(off uint64, b []byte) error {
			yield(arch.Addr(s.vaddr+off-s.off), b)
			return nil
		})
		if err != nil {
			return fmt.Errorf("code of %s: %w", f.name, err)
		}
	}
	return nil
}
