package location

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/mangled"
)

// Target is one address that a location means in a file.
type Target struct {
	Addr     arch.Addr // file vaddr
	Name     string    // "malloc+4", "malloc%return"
	Function symbols.Function
	Entry    bool          // what a call has left is there: arguments, where it returns to
	Exit     *symbols.Exit // of FUNCTION%return
	// Ifunc: the function is an IFUNC's resolver. What is meant is what that gives
	// back, which only a process knows: ask Implementation.
	Ifunc bool
	// Resolver: it is an instruction of one, by the name of what that gives back.
	Resolver bool
}

// Errors that Resolve's errors wrap, beside ErrNotFound.
var (
	ErrNoExits = errors.New("no exits")                       // a function never ends by an instruction of its own
	ErrInside  = errors.New("inside an instruction")          // an offset is in the middle of one
	ErrBeyond  = errors.New("beyond the end of the function") // an offset is
)

// Resolve finds the addresses that l means in f, BINARY aside, by ascending
// address of function. A location that means nothing there gives an error that
// wraps ErrNotFound and, when printed, suggests names.
//
// Where a name is that of an IFUNC resolver (glibc's memcpy), its
// implementations take its place if they have names of the form __memcpy_*, or
// those that compilers give (memcpy.avx2); else there is one target, which says
// that it is an IFUNC.
func (l Location) Resolve(f *symbols.File, isa arch.ISA) ([]Target, error) {
	switch {
	case l.File != "":
		return l.lines(f, isa)
	case l.HasAddress:
		return l.address(f)
	}
	fns, err := l.functions(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l, err)
	}
	if len(fns) == 0 {
		return nil, &NotFoundError{Name: l.Function, file: f}
	}
	var targets []Target
	var errs []error
	for _, fn := range fns {
		list, err := l.targets(f, isa, fn)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", filepath.Base(f.Name()), fn.shown, err))
		}
		targets = append(targets, list...)
	}
	// One function of many that can't be probed this way is no error.
	if len(targets) == 0 {
		return nil, errors.Join(errs[:min(len(errs), 1)]...)
	}
	return targets, nil
}

// Implementation is what l means in the function that begins at addr, which
// implements an IFUNC with the given name.
func (l Location) Implementation(f *symbols.File, isa arch.ISA, addr arch.Addr, name string) ([]Target, error) {
	fn, _ := f.Starting(addr)
	fn.Addr, fn.Ifunc = addr, false
	return l.targets(f, isa, named{Function: fn, shown: name})
}

// address is the target of *ADDRESS.
func (l Location) address(f *symbols.File) ([]Target, error) {
	var b [1]byte
	if f.Text(l.Address, b[:]) != nil {
		return nil, fmt.Errorf("%s: %w", l, symbols.ErrNoText)
	}
	fn, _ := f.FunctionAt(l.Address)
	return []Target{{Addr: l.Address, Name: "*" + l.Address.String(), Function: fn, Entry: l.Address == fn.Addr}}, nil
}

// named is a function with the name that it was asked for by.
type named struct {
	symbols.Function
	shown  string
	clone  bool // one of several that are called by the name of what they implement
	chosen bool // it is a resolver, by the name of what that gives back
}

// by says by which of its names a function was asked for.
func (fn named) by(name string) named {
	fn.chosen = fn.Ifunc && (slices.Contains(fn.Chosen, name) || !slices.Contains(fn.Names(), name))
	return fn
}

// functions finds what FUNCTION means: the function of that very name, or all
// that the pattern matches.
func (l Location) functions(f *symbols.File) ([]named, error) {
	found, err := f.Lookup(plain(l.Function))
	if err != nil {
		return nil, err
	}
	var list []named
	for _, fn := range found {
		base, _, _ := symbols.CutUnique(plain(l.Function))
		list = append(list, named{Function: fn, shown: shownName(fn, plain(l.Function))}.by(elffile.Unversioned(base)))
	}
	if len(found) == 0 && isGlob(l.Function) {
		if list, err = match(f, l.Function); err != nil {
			return nil, err
		}
	}
	tellApart(list)
	if list, err = implemented(f, list); err != nil {
		return nil, err
	}
	tellApart(list)
	return list, nil
}

// shownName is the name of fn that was asked for, readable.
func shownName(fn symbols.Function, asked string) string {
	base, _, _ := symbols.CutUnique(asked)
	if slices.Contains(fn.Aliases, elffile.Unversioned(base)) {
		return mangled.Readable(elffile.Unversioned(base))
	}
	return fn.Demangled()
}

// match finds the functions with a name that the pattern matches. Cold parts
// are no functions, unless asked for.
func match(f *symbols.File, pattern string) ([]named, error) {
	fns, err := f.Functions()
	if err != nil {
		return nil, err
	}
	var list []named
	for _, fn := range fns {
		if _, cold := mangled.Cold(fn.Name); cold && !strings.Contains(pattern, ".cold") {
			continue
		}
		for _, name := range fn.Names() {
			if matches(pattern, name) {
				list = append(list, named{Function: fn, shown: mangled.Readable(name)}.by(name))
				break
			}
		}
	}
	return list, nil
}

// implemented replaces IFUNC resolvers by the implementations that have names:
// glibc gives them the form __NAME_cpu, compilers that of NAME.cpu. Each function
// is listed once.
func implemented(f *symbols.File, list []named) ([]named, error) {
	var out []named
	seen := map[uint64]bool{}
	add := func(fn named) {
		if !seen[uint64(fn.Addr)] {
			seen[uint64(fn.Addr)] = true
			out = append(out, fn)
		}
	}
	for _, fn := range list {
		if !fn.chosen {
			add(fn)
			continue
		}
		impl, shown, err := f.Implementations(fn.Function)
		if err != nil {
			return nil, err
		}
		for _, i := range impl {
			add(named{Function: i, shown: shown[i.Addr]})
		}
		if len(impl) > 0 {
			continue
		}
		clones, err := f.Clones(fn.Function)
		if err != nil {
			return nil, err
		}
		for _, c := range clones {
			add(named{Function: c, shown: fn.shown, clone: true})
		}
		if len(clones) == 0 {
			add(fn)
		}
	}
	return out, nil
}

// matches compares a pattern with a name as it is and as it reads.
func matches(pattern, name string) bool {
	if glob(pattern, name) {
		return true
	}
	return slices.ContainsFunc(mangled.Spellings(name, pattern), func(s string) bool { return glob(mangled.Squeeze(pattern), mangled.Squeeze(s)) })
}

// tellApart gives functions of one name the address as well.
func tellApart(list []named) {
	count := map[string]int{}
	for _, fn := range list {
		if !fn.clone {
			count[fn.shown]++
		}
	}
	for i, fn := range list {
		if !fn.clone && count[fn.shown] > 1 {
			list[i].shown = fn.shown + "@" + fn.Addr.String()
		}
	}
}

// targets are the addresses in one function.
func (l Location) targets(f *symbols.File, isa arch.ISA, fn named) ([]Target, error) {
	switch {
	case fn.chosen && !l.Every && !l.First && l.Offset == 0:
		return []Target{{Addr: fn.Addr, Name: fn.shown, Function: fn.Function, Ifunc: true}}, nil
	case fn.chosen:
		fn.chosen = false
		targets, err := l.targets(f, isa, fn)
		for i := range targets {
			targets[i].Resolver = true
		}
		return targets, err
	case l.Every:
		return every(f, isa, fn)
	case l.Return:
		return exits(f, isa, fn)
	case l.First:
		return []Target{{Addr: fn.Addr, Name: offsetName(fn, fn.Addr), Function: fn.Function, Entry: true}}, nil
	case l.Offset == 0:
		return []Target{{Addr: f.Body(isa, fn.Function), Name: fn.shown, Function: fn.Function, Entry: true}}, nil
	case l.Offset >= fn.Size:
		return nil, fmt.Errorf("+%d is %w, which has %d bytes", l.Offset, ErrBeyond, fn.Size)
	}
	at := fn.Addr + arch.Addr(l.Offset)
	starts, err := f.Instructions(isa, fn.Function)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearch(starts, at)
	if !ok && i > 0 && i < len(starts) {
		return nil, fmt.Errorf("+%d is %w: they start at +%d and +%d", l.Offset, ErrInside, starts[i-1]-fn.Addr, starts[i]-fn.Addr)
	}
	return []Target{{Addr: at, Name: offsetName(fn, at), Function: fn.Function, Entry: at == f.Body(isa, fn.Function)}}, nil
}

func offsetName(fn named, at arch.Addr) string {
	return fn.shown + "+" + strconv.FormatUint(uint64(at-fn.Addr), 10)
}

func every(f *symbols.File, isa arch.ISA, fn named) ([]Target, error) {
	starts, err := f.Instructions(isa, fn.Function)
	if err != nil {
		return nil, err
	}
	body := f.Body(isa, fn.Function)
	targets := make([]Target, len(starts))
	for i, at := range starts {
		targets[i] = Target{Addr: at, Name: offsetName(fn, at), Function: fn.Function, Entry: at == fn.Addr || at == body}
	}
	return targets, nil
}

func exits(f *symbols.File, isa arch.ISA, fn named) ([]Target, error) {
	list, err := f.Exits(isa, fn.Function)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no return and no jump out of it", ErrNoExits)
	}
	targets := make([]Target, len(list))
	for i := range list {
		targets[i] = Target{Addr: list[i].Addr, Name: fn.shown + "%return", Function: fn.Function, Exit: &list[i]}
	}
	return targets, nil
}
