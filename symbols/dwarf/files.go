package dwarf

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"

	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// files are the other files that hold parts of an object's debug information.
type files struct {
	once    sync.Once
	common  *Data // what dwz has moved to another file (DWARF 5: a supplementary file)
	noAlt   error
	pack    sync.Once
	pkg     *Data // a package of split units
	noPkg   error // why it could not be read
	splitMu sync.Mutex
	split   map[string]*Data // files of split units, by their paths
	opened  []*os.File
}

// Where says under which paths other files are looked for.
type Where struct {
	Path string // the object's own
	Root string // a prefix of all paths: the root of another mount namespace
	// Cache is a folder for what is made of the files; "": there is none.
	Cache string
}

// debugDir is where distributions put debug files.
const debugDir = "/usr/lib/debug"

// open opens the file of the first path that exists, as debug information.
func (d *Data) open(dwo bool, paths ...string) (*Data, error) {
	missing := error(fs.ErrNotExist)
	for _, path := range paths {
		r, err := objfile.Open(filepath.Join(d.where.Root, path))
		if objfile.IsMissing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		other, err := d.read(r, path, dwo)
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		d.splitMu.Lock()
		d.opened = append(d.opened, r)
		d.splitMu.Unlock()
		return other, nil
	}
	if len(paths) > 0 {
		missing = fmt.Errorf("%s: %w", paths[0], fs.ErrNotExist)
	}
	return nil, missing
}

func (d *Data) read(r *os.File, path string, dwo bool) (*Data, error) {
	st, err := r.Stat()
	if err != nil {
		return nil, err
	}
	o, err := elffile.New(r, st.Size())
	if err != nil {
		return nil, err
	}
	return newData(o, Where{Path: path, Root: d.where.Root, Cache: d.where.Cache}, dwo), nil
}

// Close closes the files that New's object refers to and that have been opened.
func (d *Data) Close() error {
	var errs []error
	d.splitMu.Lock()
	defer d.splitMu.Unlock()
	for _, other := range d.split {
		errs = append(errs, other.Close())
	}
	for _, other := range []*Data{d.common, d.pkg} {
		if other != nil {
			errs = append(errs, other.Close())
		}
	}
	for _, f := range d.opened {
		errs = append(errs, f.Close())
	}
	d.opened = nil
	return errors.Join(errs...)
}

// alt returns the file to which dwz has moved what several files share.
func (d *Data) alt() (*Data, error) {
	d.once.Do(func() { d.common, d.noAlt = d.openAlt() })
	return d.common, d.noAlt
}

func (d *Data) openAlt() (*Data, error) {
	name, id, err := d.altLink()
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.where.Path), name)
	}
	paths := []string{name}
	if len(id) > 1 {
		h := hex.EncodeToString(id)
		paths = append(paths, filepath.Join(debugDir, ".build-id", h[:2], h[2:]+".debug"))
	}
	other, err := d.open(false, paths...)
	if err != nil {
		return nil, fmt.Errorf("the file that dwz has moved parts to: %w", err)
	}
	if theirs := other.o.BuildID(); len(id) > 0 && theirs != "" && theirs != hex.EncodeToString(id) {
		return nil, fmt.Errorf("%s is not the file that dwz has moved parts to: its build-id is %s, not %x", other.where.Path, theirs, id)
	}
	return other, nil
}

// altLink returns the name and the build-id in .gnu_debugaltlink, or in .debug_sup (DWARF 5, 7.3.6).
func (d *Data) altLink() (name string, id []byte, err error) {
	s, ok := d.o.Section(".gnu_debugaltlink")
	if ok && s.Size <= elffile.PageSize {
		b, err := d.o.Data(s)
		if err != nil {
			return "", nil, err
		}
		if file, id, ok := bytes.Cut(b, []byte{0}); ok && len(file) > 0 {
			return string(file), id, nil
		}
	}
	if s, ok = d.o.Section(".debug_sup"); ok && s.Size <= elffile.PageSize {
		data, err := d.o.Data(s)
		if err != nil {
			return "", nil, err
		}
		b := &raw.Buf{B: data}
		b.U16()           // version
		of := b.U8() != 0 // this file is the one that others refer to
		file := b.Text()  // the other one
		id := b.Bytes(b.ULEB())
		if b.Err == nil && !of && len(file) > 0 {
			return string(file), id, nil
		}
	}
	return "", nil, fmt.Errorf("%w: a reference to another file, which is not named", ErrFormat)
}
