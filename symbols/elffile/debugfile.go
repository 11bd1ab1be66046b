package elffile

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ptracer/ptracer/symbols/objfile"
)

// debugDirs are where distributions put separate debug files.
var debugDirs = []string{"/usr/lib/debug"}

// DebugFile finds the symbols of a separate debug file: by build-id, or by the name and
// checksum in .gnu_debuglink. Name is the object's path, root the prefix under which that is
// to be found. What lies where the file may be and could not be read is told, if there is no
// other.
func (o *Object) DebugFile(name, root string) (t *Table, err error) {
	id := o.BuildID()
	_, sum := o.debugLink()
	_, err = o.search(name, root, func(path string) error {
		t, err = openDebug(o, path, id, sum)
		return err
	})
	return t, err
}

// search calls open for each place where a separate debug file may be, until it returns nil. The error
// is ErrNoTable, or why a file that lies there could not be read.
func (o *Object) search(name, root string, open func(path string) error) (DebugPath, error) {
	why := ErrNoTable
	link, _ := o.debugLink()
	for _, path := range debugPaths(o.BuildID(), link, name, root) {
		for _, prefix := range []string{root, ""} {
			at := filepath.Join(prefix, path)
			err := open(at)
			if err == nil {
				return DebugPath{path, prefix}, nil
			}
			if !errors.Is(err, ErrNoTable) && errors.Is(why, ErrNoTable) {
				why = &objfile.UnreadError{Path: at, Err: err}
			}
			if root == "" {
				break
			}
		}
	}
	return DebugPath{}, why
}

// debugPaths are the places to look, in gdb's order.
func debugPaths(id, link, name, root string) (paths []string) {
	for _, dir := range debugDirs {
		if len(id) > 2 {
			paths = append(paths, filepath.Join(dir, ".build-id", id[:2], id[2:]+".debug"))
		}
	}
	if link == "" || !filepath.IsAbs(name) && root != "" {
		return paths
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return paths
	}
	paths = append(paths, filepath.Join(dir, link), filepath.Join(dir, ".debug", link))
	for _, d := range debugDirs {
		paths = append(paths, filepath.Join(d, dir, link))
	}
	return paths
}

// debugLink is the file name in .gnu_debuglink, and the checksum behind it at
// the next multiple of 4.
func (o *Object) debugLink() (name string, sum uint32) {
	s, ok := o.Section(".gnu_debuglink")
	if !ok || s.Size > PageSize {
		return "", 0
	}
	b, err := o.Data(s)
	if err != nil {
		return "", 0
	}
	name = CString(b, 0)
	at := (len(name) + 4) &^ 3
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || len(b) < at+4 {
		return "", 0
	}
	return name, binary.LittleEndian.Uint32(b[at:])
}

// openDebug reads the symbols of a debug file if it is the right one. The table is copied to memory,
// so that no further file stays open.
func openDebug(main *Object, path, id string, sum uint32) (*Table, error) {
	r, o, err := openMatching(main, path, id, sum)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, ok := o.Section(".symtab"); !ok {
		return nil, ErrNoTable
	}
	return resident(o, main)
}

// openMatching opens a debug file if it is the right one: it has the same build-id, or where there
// is none the checksum. The error is ErrNoTable if it is not, or not there.
func openMatching(main *Object, path, id string, sum uint32) (r *os.File, o *Object, err error) {
	r, err = objfile.Open(path)
	if objfile.IsMissing(err) {
		return nil, nil, ErrNoTable
	}
	if err != nil {
		return nil, nil, err
	}
	if o, err = match(main, r, id, sum); err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, o, nil
}

func match(main *Object, r *os.File, id string, sum uint32) (*Object, error) {
	st, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if err := MustBeELF(r); err != nil {
		return nil, err
	}
	o, err := New(r, st.Size())
	if err != nil {
		return nil, err
	}
	if o.Machine != main.Machine {
		return nil, ErrNoTable
	}
	if theirs := o.BuildID(); id != "" && theirs != "" {
		if id != theirs {
			return nil, ErrNoTable
		}
	} else if same, err := checksum(r, st.Size(), sum); !same {
		return nil, cmp.Or(err, ErrNoTable)
	}
	return o, nil
}

// OpenDebug opens a debug file of an object that lies at a path, if it is the right one and has debug
// information; else the error is ErrNoTable.
func (o *Object) OpenDebug(path string) (*os.File, *Object, error) {
	_, sum := o.debugLink()
	r, debug, err := openMatching(o, path, o.BuildID(), sum)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := debug.Section(".debug_info", ".zdebug_info"); !ok {
		r.Close()
		return nil, nil, ErrNoTable
	}
	return r, debug, nil
}

// DebugPath is where a separate debug file was found: a path, and the prefix of the mount namespace
// that it is in.
type DebugPath struct{ Path, Root string }

// DebugObject opens the separate debug file of an object; see DebugFile. The error is ErrNoTable if
// there is none with debug information.
func (o *Object) DebugObject(name, root string) (r *os.File, debug *Object, at DebugPath, err error) {
	at, err = o.search(name, root, func(path string) (err error) {
		r, debug, err = o.OpenDebug(path)
		return err
	})
	return r, debug, at, err
}

// maxChecked is the largest file that is read for its checksum alone. What is larger has a
// build-id.
const maxChecked = 4 << 30

// checksum reports whether a file has the given CRC-32.
func checksum(r io.ReaderAt, size int64, sum uint32) (bool, error) {
	if size > maxChecked {
		return false, fmt.Errorf("checksum of %d bytes: %w", size, ErrBudget)
	}
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size)); err != nil {
		return false, err
	}
	return h.Sum32() == sum, nil
}

// resident is the .symtab of o, with what it needs in memory.
func resident(o, main *Object) (*Table, error) {
	t, ok := NewTable(o, main, ".symtab")
	if !ok || t.strs.Type == elf.SHT_NOBITS {
		return nil, ErrNoTable
	}
	if !o.dense(t.syms.Off, t.syms.Size) || !o.dense(t.strs.Off, t.strs.Size) {
		return nil, fmt.Errorf("%w: a table that is a hole", ErrFormat)
	}
	if err := main.Budget.Keep(t.syms.Size + t.strs.Size); err != nil {
		return nil, err
	}
	all := make([]byte, t.syms.Size+t.strs.Size)
	if err := o.fill(all[:t.syms.Size], t.syms.Off); err != nil {
		return nil, err
	}
	if err := o.fill(all[t.syms.Size:], t.strs.Off); err != nil {
		return nil, err
	}
	t.o = &Object{Reader: bytes.NewReader(all), Size: int64(len(all)), Sections: o.Sections}
	t.syms.Off, t.strs.Off = 0, t.syms.Size
	return t, nil
}
