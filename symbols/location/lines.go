package location

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/mangled"
	"github.com/ptracer/ptracer/symbols/source"
)

// lines finds the places of FILE:LINE, or of FUNCTION:LINE if no file has the name.
func (l Location) lines(f *symbols.File, isa arch.ISA) ([]Target, error) {
	if l.Return {
		return nil, failure.Unsupportedf("exits, results and durations at a line of the source (%s:%d): name its function", l.File, l.Line)
	}
	src, err := f.Source()
	if err != nil {
		return nil, notFound{fmt.Errorf("%s: %w", l, err)}
	}
	files := source.Files{Typed: plain(l.File)}
	if isGlob(l.File) {
		files.Match = func(name string) bool { return glob(l.File, name) }
	}
	places, err := src.Line(files, l.Line, l.Column)
	var none *source.NoFileError
	if errors.As(err, &none) && !strings.Contains(l.File, "/") {
		places, err = l.linesOf(src, err)
	}
	if err != nil {
		return nil, notFound{fmt.Errorf("%s in %s: %w", l, path.Base(f.Name()), err)}
	}
	var list []Target
	for _, p := range distinct(f, isa, places) {
		fn, _ := f.FunctionAt(p.Addr)
		name := Location{File: l.File, Line: p.Line, Column: l.Column}
		if files.Match != nil {
			name.File = quote(path.Base(p.File))
		}
		list = append(list, Target{Addr: p.Addr, Name: name.fileLine(), Function: fn, Entry: p.Addr == fn.Addr || p.Addr == f.Body(isa, fn)})
	}
	return list, nil
}

// distinct drops those of the places of a block that are executed only when another one was: copies
// of a statement, and several statements of one macro, can't be told apart where one follows the other.
func distinct(f *symbols.File, isa arch.ISA, places []source.Place) []source.Place {
	blocks := map[int][]arch.Addr{}
	for _, p := range places {
		blocks[p.Block] = append(blocks[p.Block], p.Addr)
	}
	keep := map[arch.Addr]bool{}
	for _, list := range blocks {
		if fn, ok := bodyOf(f, list); ok && len(list) > 1 {
			if flow, err := symbols.ReadFlow(f, isa, fn); err == nil {
				list = flow.Distinct(list)
			}
		}
		for _, a := range list {
			keep[a] = true
		}
	}
	return slices.DeleteFunc(places, func(p source.Place) bool { return !keep[p.Addr] })
}

// bodyOf finds the function that has instructions of one block, of which some may be in a part that
// the compiler has moved away: that is no function.
func bodyOf(f *symbols.File, list []arch.Addr) (symbols.Function, bool) {
	for _, a := range list {
		fn, ok := f.FunctionAt(a)
		if _, cold := mangled.Cold(fn.Name); ok && !cold {
			return fn, true
		}
	}
	return symbols.Function{}, false
}

// linesOf finds the places of FUNCTION:LINE: of a line of the file that the function is in, those in
// its own code or in what was inlined from it. noFile is the error if there is no such function.
func (l Location) linesOf(src *source.Source, noFile error) ([]source.Place, error) {
	name := plain(l.File)
	files, ok, err := src.FilesOf(name)
	if err != nil || !ok {
		return nil, cmp.Or(err, noFile)
	}
	places, err := src.Line(files, l.Line, l.Column)
	places = slices.DeleteFunc(places, func(p source.Place) bool { return !source.IsOf(p.Function, name) })
	if len(places) == 0 {
		return nil, cmp.Or(err, fmt.Errorf("line %d is not in %s", l.Line, name))
	}
	return places, nil
}

// notFound is an error about what a location does not find in the source.
type notFound struct{ error }

// Unwrap makes it an ErrNotFound.
func (e notFound) Unwrap() []error { return []error{symbols.ErrNotFound, e.error} }
