package symbols

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"

	"github.com/ptracer/ptracer/symbols/objfile"
)

// debugDirs are where distributions put separate debug files.
var debugDirs = []string{"/usr/lib/debug"}

// debugFile finds the symbols of a separate debug file: by build-id, or by the
// name and checksum in .gnu_debuglink. What lies where it may be and could not be read is told,
// if there is no other.
func (f *File) debugFile() (*symtab, error) {
	why := errNoTable
	id := f.obj.buildID()
	link, sum := f.obj.debugLink()
	for _, path := range f.debugPaths(id, link) {
		for _, root := range []string{f.root, ""} {
			at := filepath.Join(root, path)
			t, err := openDebug(f.obj, at, id, sum)
			if err == nil {
				return t, nil
			}
			if !errors.Is(err, errNoTable) && errors.Is(why, errNoTable) {
				why = &objfile.UnreadError{Path: at, Err: err}
			}
			if f.root == "" {
				break
			}
		}
	}
	return nil, why
}

// debugPaths are the places to look, in gdb's order.
func (f *File) debugPaths(id, link string) (paths []string) {
	for _, dir := range debugDirs {
		if len(id) > 2 {
			paths = append(paths, filepath.Join(dir, ".build-id", id[:2], id[2:]+".debug"))
		}
	}
	if link == "" || !filepath.IsAbs(f.name) && f.root != "" {
		return paths
	}
	dir, err := filepath.Abs(filepath.Dir(f.name))
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
func (o *object) debugLink() (name string, sum uint32) {
	s, ok := o.section(".gnu_debuglink")
	if !ok || s.size > pageSize {
		return "", 0
	}
	b, err := o.data(s)
	if err != nil {
		return "", 0
	}
	name = cstring(b, 0)
	at := (len(name) + 4) &^ 3
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || len(b) < at+4 {
		return "", 0
	}
	return name, binary.LittleEndian.Uint32(b[at:])
}

// openDebug reads the symbols of a debug file if it is the right one: it has
// the same build-id, or where there is none the checksum. The table is copied
// to memory, so that no further file stays open.
func openDebug(main *object, path, id string, sum uint32) (*symtab, error) {
	r, err := objfile.Open(path)
	if objfile.IsMissing(err) {
		return nil, errNoTable
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if err := mustBeELF(r); err != nil {
		return nil, err
	}
	o, err := newObject(r, st.Size())
	if err != nil {
		return nil, err
	}
	if _, ok := o.section(".symtab"); !ok || o.machine != main.machine {
		return nil, errNoTable
	}
	if theirs := o.buildID(); id != "" && theirs != "" {
		if id != theirs {
			return nil, errNoTable
		}
	} else if same, err := checksum(r, st.Size(), sum); !same {
		return nil, cmp.Or(err, errNoTable)
	}
	return resident(o, main)
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
func resident(o, main *object) (*symtab, error) {
	t, ok := newSymtab(o, main, ".symtab")
	if !ok || t.strs.typ == elf.SHT_NOBITS {
		return nil, errNoTable
	}
	if !o.dense(t.syms.off, t.syms.size) || !o.dense(t.strs.off, t.strs.size) {
		return nil, fmt.Errorf("%w: a table that is a hole", ErrFormat)
	}
	if err := main.budget.keep(t.syms.size + t.strs.size); err != nil {
		return nil, err
	}
	all := make([]byte, t.syms.size+t.strs.size)
	if err := o.fill(all[:t.syms.size], t.syms.off); err != nil {
		return nil, err
	}
	if err := o.fill(all[t.syms.size:], t.strs.off); err != nil {
		return nil, err
	}
	t.o = &object{r: bytes.NewReader(all), size: int64(len(all)), sections: o.sections}
	t.syms.off, t.strs.off = 0, t.syms.size
	return t, nil
}
