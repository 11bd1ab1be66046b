package source

import (
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
)

// Source is what the debug information of one file says about its source. It may be used by several
// goroutines.
type Source struct {
	d    *dwarf.Data
	code func(uint64) bool

	mu        sync.Mutex
	optimised map[*dwarf.Unit]bool
}

// New makes a Source. code reports whether an address can be one of the file's code: linkers leave
// lines of functions that they have thrown away.
func New(d *dwarf.Data, code func(addr uint64) bool) *Source {
	return &Source{d: d, code: code, optimised: map[*dwarf.Unit]bool{}}
}

// Data is the debug information itself.
func (s *Source) Data() *dwarf.Data { return s.d }

// Place is an instruction with which the execution of a line begins.
type Place struct {
	Addr         arch.Addr
	File         string // as the compiler was given it, with its directory
	Line, Column int
	// Function is the function of the source that the place is in. Where calls were inlined, it is
	// the innermost, and Caller the function whose code has the place.
	Function, Caller string
	// Block numbers the block of the source that the place is in, in its copy of the code: a block
	// has several places where the optimiser has made copies of its code, or where a macro has several
	// statements.
	Block int
}

// Files says which files of the source are meant: the one that has been typed, in any folder unless
// folders are typed too, or those that a pattern matches.
type Files struct {
	Typed string
	// Match compares a path, or the end of one, with what was typed; nil: they have to be the same.
	Match func(name string) bool
	any   map[string]bool // exactly these
}

// meantBase reports whether a file of this name, without its folders, may be meant.
func (f Files) meantBase(base string) bool {
	return f.Match != nil || f.any != nil || base == path.Base(f.Typed)
}

// meant reports whether a file is meant, by its path: whole or, from the start of a folder's name on,
// the end of it. Tables before DWARF 5 may name files without the directory of their unit.
func (f Files) meant(file string) bool {
	if f.any != nil {
		return f.any[file] || !path.IsAbs(file) && slices.ContainsFunc(sortedKeys(f.any), func(one string) bool { return endsIn(one, file) })
	}
	if f.Match == nil {
		typed := path.Clean(f.Typed)
		return endsIn(file, typed) || path.IsAbs(typed) && !path.IsAbs(file) && endsIn(typed, file)
	}
	folders := strings.Count(f.Typed, "/") // what a pattern matches has no more
	for rest := file; ; {
		if strings.Count(rest, "/") == folders && f.Match(rest) {
			return true
		}
		_, after, ok := strings.Cut(rest, "/")
		if !ok {
			return false
		}
		rest = after
	}
}

// endsIn reports whether a path is another one, or ends by it.
func endsIn(file, end string) bool {
	rest, ok := strings.CutSuffix(file, end)
	return ok && (rest == "" || strings.HasSuffix(rest, "/"))
}
