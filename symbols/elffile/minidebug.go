package elffile

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

// MiniDebug unpacks .gnu_debugdata: an xz-compressed ELF file with a .symtab
// of the functions that .dynsym lacks.
func (o *Object) MiniDebug(name string) (*Table, error) {
	s, ok := o.Section(".gnu_debugdata")
	if !ok {
		return nil, ErrNoTable
	}
	t, err := unpackMini(o, s)
	if err != nil && !errors.Is(err, ErrNoTable) {
		err = &objfile.UnreadError{Path: name, Err: fmt.Errorf(".gnu_debugdata: %w", err)}
	}
	return t, err
}

func unpackMini(main *Object, s Section) (*Table, error) {
	if s.Size > maxMini {
		return nil, fmt.Errorf("%d bytes: %w", s.Size, ErrBudget)
	}
	b, err := main.Data(s)
	if err != nil {
		return nil, err
	}
	plain, err := xz.Unpack(b, min(maxMini, miniFloor+miniFactor*len(b)))
	if err != nil {
		return nil, err
	}
	o, err := New(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, err
	}
	return resident(o, main)
}
