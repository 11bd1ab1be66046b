package symbols

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/symbols/debuginfod"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/source"
)

// ErrNoSource is wrapped by errors that say a file has no debug information, here or in a separate
// file: nothing is known of its source.
var ErrNoSource = failure.Kind("no debug information", ErrNotFound)

// NoSourceError is an ErrNoSource of a file whose separate debug file is not here.
type NoSourceError struct {
	Path    string
	BuildID string // in hexadecimal, "" if there is none
}

func (e *NoSourceError) Error() string {
	s := fmt.Sprintf("%s: %v: compile it with -g, or install its debug file", e.Path, ErrNoSource)
	if id := e.BuildID; len(id) > 2 {
		s += fmt.Sprintf(" (/usr/lib/debug/.build-id/%s/%s.debug), or set DEBUGINFOD_URLS", id[:2], id[2:])
	}
	return s
}

// Unwrap makes it an ErrNoSource.
func (e *NoSourceError) Unwrap() error { return ErrNoSource }

// debug is what is known of a file's source, once it is asked for.
type debug struct {
	mu   sync.Mutex
	src  *source.Source
	data *dwarf.Data
	file *os.File // separate debug file
}

// Source is what debug information says about the file's source: its own, or that of its separate
// debug file. The error wraps ErrNoSource if there is none; it is looked for again the next time.
func (f *File) Source() (*source.Source, error) {
	d := &f.debug
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.src != nil {
		return d.src, nil
	}
	data, err := dwarf.New(f.obj, dwarf.Where{Path: f.name, Root: f.root, Cache: cacheFolder()})
	if errors.Is(err, dwarf.ErrNone) {
		data, d.file, err = openDebug(f)
	}
	if err != nil {
		return nil, err
	}
	d.data = data
	d.src = source.New(data, func(a uint64) bool {
		var b [1]byte
		return f.Text(arch.Addr(a), b[:]) == nil
	})
	return d.src, nil
}

// openDebug opens the separate debug file of f: where distributions put it, or one that has been
// fetched. It fetches none.
func openDebug(f *File) (*dwarf.Data, *os.File, error) {
	r, o, at, err := f.obj.DebugObject(f.name, f.root)
	if errors.Is(err, elffile.ErrNoTable) {
		at.Path = debuginfod.FromEnv(os.Getenv).Cached(f.BuildID())
		if at.Path == "" {
			return nil, nil, &NoSourceError{f.name, f.BuildID()}
		}
		r, o, err = f.obj.OpenDebug(at.Path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %w", f.name, ErrNoSource, err)
	}
	data, err := dwarf.New(o, dwarf.Where{Path: at.Path, Root: at.Root, Cache: cacheFolder()})
	if err != nil {
		r.Close()
		return nil, nil, fmt.Errorf("%s: %w", at.Path, err)
	}
	return data, r, nil
}

// close closes the files that were opened for the source.
func (d *debug) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	if d.data != nil {
		errs = append(errs, d.data.Close())
	}
	if d.file != nil {
		errs = append(errs, d.file.Close())
	}
	return errors.Join(errs...)
}

// cacheFolder is where what is made of debug information is kept, "" if the environment names no place.
func cacheFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ptracer")
}
