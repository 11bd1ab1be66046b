package symbols

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/mangled"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Function is a function of a File: everything that has one address.
type Function struct {
	Name    string    // as in the table, version stripped; of several the most public
	Addr    arch.Addr // vaddr in the file
	Size    uint64    // bytes; up to what follows where the table doesn't say
	Aliases []string  // other names of the address
	Local   bool      // not visible outside of its source file
	// Ifunc says that the symbol is a resolver: it runs once, when the loader
	// binds the name, and returns the address of the real function.
	Ifunc bool
	// Chosen are those of its names that are not the resolver's own, but of what that
	// gives back.
	Chosen []string
}

// End is the first address behind the function.
func (fn Function) End() arch.Addr { return fn.Addr + arch.Addr(fn.Size) }

// Contains reports whether a lies in the function.
func (fn Function) Contains(a arch.Addr) bool { return a >= fn.Addr && a < fn.End() }

// Names are all names of the function, its own first.
func (fn Function) Names() []string { return append([]string{fn.Name}, fn.Aliases...) }

// Unique is the name with the address behind it, "NAME@0x1234": it tells
// functions of one name apart, also in a location.
func (fn Function) Unique() string { return fn.Name + "@0x" + strconv.FormatUint(uint64(fn.Addr), 16) }

// Demangled is the name as it stands in the C++ or Rust source, with
// parameters; other names are as they are.
func (fn Function) Demangled() string { return mangled.Readable(fn.Name) }

// table is functions by address.
type table struct {
	functions []Function
	names     index // by name, aliases included
	cold      index // of cold parts, by the function's name
}

// index has the indexes of functions by their names. Nearly all names have one function.
type index struct {
	first map[string]int32
	more  map[string][]int32
}

func newIndex(n int) index { return index{make(map[string]int32, n), map[string][]int32{}} }

func (x index) add(name string, i int32) {
	if _, is := x.first[name]; is {
		x.more[name] = append(x.more[name], i)
		return
	}
	x.first[name] = i
}

// of are the functions of a name, in the order in which they came.
func (x index) of(name string) []int32 {
	i, is := x.first[name]
	if !is {
		return nil
	}
	return append([]int32{i}, x.more[name]...)
}

// functionCost is what a function in a table takes of memory; the text of its names is a
// part of the file's.
const functionCost = 200

// maxNames is how long all names of a file may be together, in bytes: where any number of
// them are the ends of one, the file has few of these.
const maxNames = 8 << 30

// readTable reads all sources. What can be read is used; the error is told
// only if nothing can.
func (f *File) readTable() (*table, error) {
	var all []elffile.Symbol
	var errs []error
	n, names := uint64(0), uint64(0)
	for _, s := range f.sources() {
		errs = append(errs, s.Each(func(sym elffile.Symbol) {
			n, names = n+1, names+uint64(len(sym.Name))
			if n <= elffile.MaxKept/functionCost && names <= maxNames {
				all = append(all, sym)
			}
		}))
	}
	err := f.obj.Budget.Keep(functionCost * n)
	if err == nil && names > maxNames {
		err = elffile.ErrBudget
	}
	if err != nil {
		return &table{}, fmt.Errorf("%s: table of %d functions: %w", f.name, n, err)
	}
	t := f.newTable(all)
	if len(t.functions) == 0 {
		return t, errors.Join(errs...)
	}
	if err := errors.Join(errs...); err != nil {
		f.unread.Note(&objfile.UnreadError{Path: f.name, Err: err})
	}
	t.index()
	return t, nil
}

// index makes functions findable by their names.
func (t *table) index() {
	t.names, t.cold = newIndex(len(t.functions)), newIndex(0)
	for i, fn := range t.functions {
		for n := -1; n < len(fn.Aliases); n++ {
			name := fn.Name
			if n >= 0 {
				name = fn.Aliases[n]
			}
			t.names.add(name, int32(i))
			if base, ok := mangled.Cold(name); ok {
				t.cold.add(base, int32(i))
			}
		}
	}
}

// newTable makes functions of symbols: one for each address.
func (f *File) newTable(all []elffile.Symbol) *table {
	slices.SortFunc(all, func(a, b elffile.Symbol) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), compareNames(a, b))
	})
	t := &table{}
	covered := uint64(0) // end of the furthest function with a size so far
	for i := 0; i < len(all); {
		n := i + 1
		for n < len(all) && all[n].Addr == all[i].Addr {
			n++
		}
		fn, label := group(all[i:n])
		// A label inside a function is a jump's target or a data mark.
		if end := all[i].Addr + fn.Size; !label {
			covered = max(covered, end)
			t.functions = append(t.functions, fn)
		} else if all[i].Addr >= covered {
			t.functions = append(t.functions, fn)
		}
		i = n
	}
	for i := range t.functions {
		f.inferSize(t.functions, i)
	}
	return t
}

// compareNames puts first the name that people would use: visible, without
// underscores in front, short.
func compareNames(a, b elffile.Symbol) int {
	return cmp.Or(compareBool(a.Label, b.Label), compareBool(a.Local, b.Local),
		cmp.Compare(underscores(a.Name), underscores(b.Name)),
		cmp.Compare(len(a.Name), len(b.Name)), strings.Compare(a.Name, b.Name))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// underscores counts those in front; a mangled name's own do not count.
func underscores(name string) int {
	if mangled.Is(name) {
		return 0
	}
	return len(name) - len(strings.TrimLeft(name, "_"))
}

// fewNames are compared one with the other.
const fewNames = 16

// group makes one function of the symbols at one address, the best name first.
func group(all []elffile.Symbol) (fn Function, label bool) {
	first := all[0]
	fn = Function{Name: first.Name, Addr: arch.Addr(first.Addr), Local: first.Local}
	var known map[string]bool // of functions alike linkers make one, with thousands of names
	if len(all) > fewNames {
		known = map[string]bool{fn.Name: true}
	}
	for _, s := range all {
		// A label's size, where it has one, is not the function's.
		if first.Label || !s.Label {
			fn.Size = max(fn.Size, s.Size)
		}
		if s.Ifunc {
			fn.Ifunc, fn.Chosen = true, append(fn.Chosen, s.Name)
		}
		if known == nil && (s.Name == fn.Name || slices.Contains(fn.Aliases, s.Name)) || known[s.Name] {
			continue
		}
		if fn.Aliases = append(fn.Aliases, s.Name); known != nil {
			known[s.Name] = true
		}
	}
	return fn, first.Label
}

// inferSize gives a function without a size one: up to the next function or
// the end of the section.
func (f *File) inferSize(list []Function, i int) {
	fn := &list[i]
	end := f.obj.TextEnd(uint64(fn.Addr))
	room := end - min(end, uint64(fn.Addr))
	if fn.Size == 0 {
		fn.Size = f.frames().Size(uint64(fn.Addr))
	}
	if fn.Size == 0 {
		fn.Size = room
		if i+1 < len(list) {
			fn.Size = min(room, uint64(list[i+1].Addr-fn.Addr))
		}
	}
	fn.Size = min(fn.Size, room)
}

// Functions are all functions of the file by ascending address: of .symtab and
// .dynsym, of a separate debug file, of .gnu_debugdata, of Go's tables.
func (f *File) Functions() ([]Function, error) {
	t, err := f.table()
	return t.functions, err
}

// Starting finds the function that begins at vaddr.
func (f *File) Starting(vaddr arch.Addr) (Function, bool) {
	fns, err := f.functionsAt(map[uint64]bool{uint64(vaddr): true})
	if err != nil || len(fns) == 0 {
		return Function{}, false
	}
	return fns[0], true
}

// FunctionAt finds the function that vaddr lies in, the innermost one.
func (f *File) FunctionAt(vaddr arch.Addr) (Function, bool) {
	t, err := f.table()
	if err != nil {
		return Function{}, false
	}
	i := sort.Search(len(t.functions), func(i int) bool { return t.functions[i].Addr > vaddr })
	// Few functions overlap, and not by far.
	for n := 0; i > 0 && n < 16; n++ {
		i--
		if t.functions[i].Contains(vaddr) {
			return t.functions[i], true
		}
	}
	return Function{}, false
}
