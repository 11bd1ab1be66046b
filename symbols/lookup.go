package symbols

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/mangled"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// manyLookups is how many names are looked up one by one before the whole
// table is read: each takes milliseconds in a large file, and the table a
// second at most.
const manyLookups = 16

// manyNear is how many addresses are worth a closer look without the table.
const manyNear = 64

// Lookup finds the functions of a name: as it stands in the table, demangled,
// or demangled without parameters; aliases count, versions do not. Several
// functions of one name, as static functions of several source files are, are
// told apart by their address; "NAME@0xADDR" is the one at that vaddr. Nothing
// found is no error.
func (f *File) Lookup(name string) ([]Function, error) {
	base, at, pinned := CutUnique(name)
	found, err := f.lookup(elffile.Unversioned(base), at, pinned)
	if err != nil && len(found) == 0 {
		return nil, err
	}
	return found, nil
}

// CutUnique splits "NAME@0xADDR", as Function.Unique has made it.
func CutUnique(name string) (base string, at arch.Addr, ok bool) {
	i := strings.LastIndex(name, "@0x")
	if i <= 0 {
		return name, 0, false
	}
	n, err := strconv.ParseUint(name[i+3:], 16, 64)
	if err != nil {
		return name, 0, false
	}
	return name[:i], arch.Addr(n), true
}

func (f *File) lookup(name string, at arch.Addr, pinned bool) ([]Function, error) {
	if name == "" {
		return nil, nil
	}
	addrs := map[uint64]bool{}
	note := func(s elffile.Symbol) {
		if !pinned || uint64(at) == s.Addr {
			addrs[s.Addr] = true
		}
	}
	if f.whole.Load() || f.lookups.Add(1) > manyLookups {
		return f.lookupWhole(name, func(fn Function) bool { return !pinned || fn.Addr == at })
	}
	if err := f.each(func(s elffile.Source) error {
		return s.Named(name, true, func(n string) bool { return n == name }, note)
	}); err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		if err := f.lookupReadable(name, note); err != nil {
			return nil, err
		}
	}
	return f.functionsAt(addrs)
}

// each asks every source; what one can't say another may.
func (f *File) each(ask func(elffile.Source) error) error {
	var errs []error
	list := f.sources()
	for _, s := range list {
		if err := ask(s); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(list) {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		if !errors.Is(err, elffile.ErrCrowded) {
			f.unread.Note(&objfile.UnreadError{Path: f.name, Err: err})
		}
	}
	return nil
}

// lookupReadable finds mangled names by what they read like.
func (f *File) lookupReadable(name string, note func(elffile.Symbol)) error {
	part := mangled.Part(name)
	if part == "" {
		return nil
	}
	accept := func(n string) bool { return mangled.Reads(n, name) }
	return f.each(func(s elffile.Source) error { return s.Named(part, false, accept, note) })
}

// functionsAt makes functions of what lies at the given addresses.
func (f *File) functionsAt(addrs map[uint64]bool) ([]Function, error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	if len(addrs) > manyNear {
		return f.startingAt(addrs)
	}
	at := make([]uint64, 0, len(addrs))
	for a := range addrs {
		at = append(at, a)
	}
	slices.Sort(at)
	var around []elffile.Symbol
	crowded := false
	err := f.each(func(s elffile.Source) error {
		err := s.Near(at, func(sym elffile.Symbol) { around = append(around, sym) })
		crowded = crowded || errors.Is(err, elffile.ErrCrowded)
		return err
	})
	if crowded {
		return f.startingAt(addrs)
	}
	if err != nil {
		return nil, err
	}
	var found []Function
	for _, fn := range f.newTable(around).functions {
		if addrs[uint64(fn.Addr)] {
			found = append(found, fn)
		}
	}
	return found, nil
}

// startingAt is functionsAt by the whole table.
func (f *File) startingAt(addrs map[uint64]bool) (found []Function, err error) {
	t, err := f.table()
	for _, fn := range t.functions {
		if addrs[uint64(fn.Addr)] {
			found = append(found, fn)
		}
	}
	return found, err
}

// lookupWhole finds a name in the whole table.
func (f *File) lookupWhole(name string, want func(Function) bool) ([]Function, error) {
	t, err := f.table()
	if err != nil {
		return nil, err
	}
	var found []Function
	add := func(i int32) {
		if fn := t.functions[i]; want(fn) {
			found = append(found, fn)
		}
	}
	for _, i := range t.names.of(name) {
		add(i)
	}
	part := mangled.Part(name)
	if len(found) > 0 || part == "" {
		return found, nil
	}
	for i, fn := range t.functions {
		if slices.ContainsFunc(fn.Names(), func(n string) bool { return strings.Contains(n, part) && mangled.Reads(n, name) }) {
			add(int32(i))
		}
	}
	return found, nil
}
