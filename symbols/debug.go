package symbols

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/source"
)

// ErrNoSource is wrapped by errors that say a file has no debug information, here or in a separate
// file: nothing is known of its source.
var ErrNoSource = errors.New("no debug information")

// Source is what debug information says about the file's source: its own, or that of its separate
// debug file. The error wraps ErrNoSource if there is none.
func (f *File) Source() (*source.Source, error) { return f.source() }

// readSource opens the debug information of a file.
func readSource(f *File) (*source.Source, error) {
	code := func(a uint64) bool {
		var b [1]byte
		return f.Text(arch.Addr(a), b[:]) == nil
	}
	d, err := dwarf.New(f.obj, dwarf.Where{Path: f.name, Root: f.root})
	if err == nil {
		return source.New(d, code), nil
	}
	r, o, at, err := f.obj.DebugObject(f.name, f.root)
	if errors.Is(err, elffile.ErrNoTable) {
		return nil, fmt.Errorf("%s: %w: compile it with -g, or install its debug file%s", f.name, ErrNoSource, debugHint(f.BuildID()))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", f.name, ErrNoSource, err)
	}
	f.debug = r
	if d, err = dwarf.New(o, dwarf.Where(at)); err != nil {
		return nil, fmt.Errorf("%s: %w", at.Path, err)
	}
	return source.New(d, code), nil
}

// debugHint says where a separate debug file is looked for.
func debugHint(id string) string {
	if len(id) < 3 {
		return ""
	}
	return fmt.Sprintf(" (/usr/lib/debug/.build-id/%s/%s.debug)", id[:2], id[2:])
}
