package raw

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// Section is a section's bytes: in memory, or where they are read from each time.
type Section struct {
	Name string
	Mem  []byte
	r    io.ReaderAt
	Off  uint64
	Size uint64
}

// Part is a part of a section: s from off on, size bytes.
func (s *Section) Part(off, size uint64) (*Section, error) {
	if off > s.Size || size > s.Size-off {
		return nil, fmt.Errorf("%w: %s has no %d bytes at %#x", ErrFormat, s.Name, size, off)
	}
	p := &Section{Name: s.Name, r: s.r, Off: s.Off + off, Size: size}
	if s.Mem != nil {
		p.Mem = s.Mem[off : off+size]
	}
	return p, nil
}

// At returns n bytes at off. The caller does not write to them. A file may claim terabytes, which are
// holes: no more than elffile.MaxPart is read at once.
func (s *Section) At(off, n uint64) ([]byte, error) {
	if off > s.Size || n > s.Size-off {
		return nil, fmt.Errorf("%w: %s has no %d bytes at %#x", ErrFormat, s.Name, n, off)
	}
	if s.Mem != nil {
		return s.Mem[off : off+n], nil
	}
	if n > elffile.MaxPart {
		return nil, fmt.Errorf("%d bytes of %s: %w", n, s.Name, elffile.ErrBudget)
	}
	b := make([]byte, n)
	return b, s.Fill(b, off)
}

// Fill reads what b has room for, at off.
func (s *Section) Fill(b []byte, off uint64) error {
	if s.Mem != nil {
		copy(b, s.Mem[off:])
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	if n, err := s.r.ReadAt(b, int64(s.Off+off)); n < len(b) {
		return fmt.Errorf("read %s at %#x: %w", s.Name, off, elffile.NoEOF(err))
	}
	return nil
}

// From returns up to n bytes at off, less where the section ends.
func (s *Section) From(off, n uint64) ([]byte, error) {
	if off > s.Size {
		return nil, fmt.Errorf("%w: %s ends before %#x", ErrFormat, s.Name, off)
	}
	return s.At(off, min(n, s.Size-off))
}

// Growing calls parse with more and more bytes at off, as long as it returns an error that wraps
// ErrShort and the section has more.
func (s *Section) Growing(off, first uint64, parse func(b []byte) error) error {
	for n := first; ; n *= 4 {
		b, err := s.From(off, n)
		if err != nil {
			return err
		}
		if err = parse(b); !errors.Is(err, ErrShort) || uint64(len(b)) < n {
			return err
		}
	}
}

// maxText is the longest string that is read.
const maxText = 1 << 20

// Text returns the string at off.
func (s *Section) Text(off uint64) (string, error) {
	if s.Mem != nil && off < s.Size {
		rest := s.Mem[off:min(s.Size, off+maxText)]
		if n := bytes.IndexByte(rest, 0); n >= 0 {
			return string(rest[:n]), nil
		}
		return "", fmt.Errorf("%w: a string of %s without an end", ErrFormat, s.Name)
	}
	var room [128]byte
	var text []byte
	for off < s.Size && len(text) < maxText {
		b := room[:min(s.Size-off, uint64(len(room)))]
		if err := s.Fill(b, off); err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(text, b[:i]...)), nil
		}
		text = append(text, b...)
		off += uint64(len(b))
	}
	return "", fmt.Errorf("%w: a string of %s without an end", ErrFormat, s.Name)
}

// none stands for sections that a file does not have.
func none(name string) *Section { return &Section{Name: name, Mem: []byte{}} }

// Word returns number i of those of size bytes that begin at base.
func (s *Section) Word(base, i uint64, size int) (uint64, error) {
	if i > s.Size/uint64(size) {
		return 0, fmt.Errorf("%w: %s has no number %d", ErrFormat, s.Name, i)
	}
	b, err := s.At(base+i*uint64(size), uint64(size))
	if err != nil {
		return 0, err
	}
	r := Buf{B: b}
	return r.Uint(size), r.Err
}
