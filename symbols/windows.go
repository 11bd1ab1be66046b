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
const (
	seekData = 3
	seekHole = 4
)

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

// maxExtents is how many pieces of a part on the disk are counted.
const maxExtents = 1 << 12

// dense reports whether at least half of a part is on the disk, as it is of tables: only
// data have zeros for pages on end.
func (o *object) dense(off, n uint64) bool {
	f, ok := o.r.(*os.File)
	if !ok || n <= window {
		return true
	}
	have, end := uint64(0), off+n
	for range maxExtents {
		off = o.nextData(off)
		if off >= end {
			break
		}
		hole, err := f.Seek(int64(off), seekHole)
		if err != nil || uint64(hole) <= off {
			return true // a file system that does not tell
		}
		have, off = have+min(uint64(hole), end)-off, uint64(hole)
	}
	return have >= n/2
}

// windows hands over a part of the file, a window of n bytes at a time, each with up
// to more bytes of what comes behind it; a window is overwritten by the next one. What
// the file does not have, and its holes, are left out; left is what may still be read.
func (o *object) windows(off, size, more uint64, left *uint64, yield func(off uint64, b []byte, n int) error) error {
	end := off + min(size, uint64(o.size)-min(off, uint64(o.size)))
	var buf []byte
	for off < end {
		if off = max(off, min(end, o.nextData(off))); off == end {
			break
		}
		n := min(window, end-off)
		if n > *left {
			return fmt.Errorf("at offset %#x: %w", off, ErrBudget)
		}
		*left -= n
		if buf == nil {
			buf = make([]byte, min(window+more, end-off))
		}
		b := buf[:min(n+more, end-off)]
		if err := o.fill(b, off); err != nil {
			return err
		}
		if err := yield(off, b, int(n)); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// records hands over what of a part lies on the disk as records of one size; a record
// is overwritten later.
func (o *object) records(off, size, one uint64, left *uint64, yield func(record []byte) error) error {
	return o.windows(off, size, one-1, left, func(at uint64, b []byte, n int) error {
		for i := (one - (at-off)%one) % one; i < uint64(n) && i+one <= uint64(len(b)); i += one {
			if err := yield(b[i : i+one]); err != nil {
				return err
			}
		}
		return nil
	})
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
		err := f.obj.windows(s.off, s.filesz, uint64(more), &left, func(off uint64, b []byte, _ int) error {
			yield(arch.Addr(s.vaddr+off-s.off), b)
			return nil
		})
		if err != nil {
			return fmt.Errorf("code of %s: %w", f.name, err)
		}
	}
	return nil
}
