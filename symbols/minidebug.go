package symbols

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/symbols/objfile"
	"github.com/ptracer/ptracer/symbols/xz"
)

// Bounds of what .gnu_debugdata may ask for. Tables of names unpack to some 7 times
// what they are packed, the most regular ones to 20 times; the largest to some 20 MB.
const (
	maxMini    = 64 << 20
	miniFactor = 32
	miniFloor  = 1 << 20
)

// miniDebug unpacks .gnu_debugdata: an xz-compressed ELF file with a .symtab
// of the functions that .dynsym lacks.
func (f *File) miniDebug() (*symtab, error) {
	s, ok := f.obj.section(".gnu_debugdata")
	if !ok {
		return nil, errNoTable
	}
	t, err := unpackMini(f.obj, s)
	if err != nil && !errors.Is(err, errNoTable) {
		err = &objfile.UnreadError{Path: f.name, Err: fmt.Errorf(".gnu_debugdata: %w", err)}
	}
	return t, err
}

func unpackMini(main *object, s section) (*symtab, error) {
	if s.size > maxMini {
		return nil, fmt.Errorf("%d bytes: %w", s.size, ErrBudget)
	}
	b, err := main.data(s)
	if err != nil {
		return nil, err
	}
	plain, err := xz.Unpack(b, min(maxMini, miniFloor+miniFactor*len(b)))
	if err != nil {
		return nil, err
	}
	o, err := newObject(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, err
	}
	return resident(o, main)
}
