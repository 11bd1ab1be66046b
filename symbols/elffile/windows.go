package elffile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// window is how much of a large part is read at once.
const window = 1 << 20

// Whence of lseek(2) that finds what a file has, and has not.
const (
	seekData = 3
	seekHole = 4
)

// nextData is the first place from off on where the file has bytes on the disk, its
// size if there is none. What lies before is zeros.
func (o *Object) nextData(off uint64) uint64 {
	f, ok := o.Reader.(*os.File)
	if !ok {
		return off
	}
	next, err := f.Seek(int64(off), seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return uint64(o.Size)
	case err != nil || uint64(next) < off:
		return off // a file system that does not tell
	}
	return uint64(next)
}

// maxExtents is how many pieces of a part on the disk are counted.
const maxExtents = 1 << 12

// dense reports whether at least half of a part is on the disk, as it is of tables: only
// data have zeros for pages on end.
func (o *Object) dense(off, n uint64) bool {
	f, ok := o.Reader.(*os.File)
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

// Windows hands over a part of the file, a window of n bytes at a time, each with up
// to more bytes of what comes behind it; a window is overwritten by the next one. What
// the file does not have, and its holes, are left out; left is what may still be read.
func (o *Object) Windows(off, size, more uint64, left *uint64, yield func(off uint64, b []byte, n int) error) error {
	end := off + min(size, uint64(o.Size)-min(off, uint64(o.Size)))
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

// Records hands over what of a part lies on the disk as records of one size; a record
// is overwritten later.
func (o *Object) Records(off, size, one uint64, left *uint64, yield func(record []byte) error) error {
	return o.Windows(off, size, one-1, left, func(at uint64, b []byte, n int) error {
		for i := (one - (at-off)%one) % one; i < uint64(n) && i+one <= uint64(len(b)); i += one {
			if err := yield(b[i : i+one]); err != nil {
				return err
			}
		}
		return nil
	})
}
