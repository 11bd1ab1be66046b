package gofile

import (
	"cmp"
	"debug/buildinfo"
	"debug/elf"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Which calling convention functions have.

// Calls is what a file's table of Go functions says of their calls.
type Calls struct {
	convention arch.Convention // of compiled functions
	starts     []uint64        // of functions, ascending
	assembly   []bool          // of each: it was written by hand
	unreadable bool            // there is a table of a form that is not known
}

// Of is how the function at an address, with these names, is called: as C's functions are,
// unless it is in the table that Go's linker makes; gccgo makes none, and calls as C does.
// Go's assembly functions keep to one of two conventions; the symbol table says so of those
// that have the other one, too (a name that ends in ".abi0"), of others nothing does.
func (c *Calls) Of(addr arch.Addr, names []string) arch.Convention {
	if c.unreadable {
		return arch.NotKnown
	}
	i, isGo := slices.BinarySearch(c.starts, uint64(addr))
	switch {
	case !isGo:
		return arch.C
	case c.convention == arch.GoStack, slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".abi0") }):
		return arch.GoStack
	case c.assembly[i]:
		return arch.NotKnown
	}
	return c.convention
}

// ReadCalls reads a file's table, and keeps what little is asked of it.
func ReadCalls(o *elffile.Object) *Calls {
	t, ok := New(o)
	if !ok {
		_, there := o.Section(goTables...)
		return &Calls{unreadable: there}
	}
	c := &Calls{convention: t.convention()}
	type function struct {
		addr     uint64
		assembly bool
	}
	var all []function
	for i := range t.n {
		addr, off := t.entry(i)
		all = append(all, function{addr, t.assembly(off)})
	}
	slices.SortStableFunc(all, func(a, b function) int { return cmp.Compare(a.addr, b.addr) })
	for _, fn := range all {
		c.starts, c.assembly = append(c.starts, fn.addr), append(c.assembly, fn.assembly)
	}
	return c
}

// convention is that of compiled functions: in registers since Go 1.17, on arm64 since
// 1.18. The table has had a form of its own since 1.18; that of 1.17 is that of 1.16.
func (t *Table) convention() arch.Convention {
	switch {
	case t.magic == magicGo118 || t.magic == magicGo120:
		return arch.GoRegisters
	case t.magic != magicGo116 || t.o.Machine != elf.EM_X86_64:
		return arch.GoStack
	}
	if len(t.o.Sections) > maxGoSections {
		return arch.NotKnown
	}
	info, err := buildinfo.Read(&reader{t.o.Reader, maxInfo})
	if err != nil {
		return arch.NotKnown
	}
	return conventionOf117(info.GoVersion)
}

// What package buildinfo may read of a file. It copies the name of each section, which may
// be as long as the file; Go's linker makes some thirty, with C's some fifty.
const (
	maxGoSections = 128
	maxInfo       = 1 << 20
)

// reader reads so many bytes, and no more.
type reader struct {
	r    io.ReaderAt
	left int
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(b []byte, off int64) (int, error) {
	if r.left -= len(b); r.left < 0 {
		return 0, elffile.ErrBudget
	}
	return r.r.ReadAt(b, off)
}

var goVersion = regexp.MustCompile(`go1\.(\d+)`)

// conventionOf117 is that of a Go whose table has the form of 1.16.
func conventionOf117(version string) arch.Convention {
	m := goVersion.FindStringSubmatch(version)
	if m == nil {
		return arch.NotKnown
	}
	if n, err := strconv.Atoi(m[1]); err == nil && n < 17 || strings.Contains(version, "noregabi") {
		return arch.GoStack
	}
	return arch.GoRegisters
}

// funcFlagAsm is set of functions written by hand, since Go 1.18 (internal/abi.FuncFlagAsm).
const funcFlagAsm = 1 << 2

// assembly is whether the function whose data is at off was written by hand. Behind its
// entry are 8 fields of 4 bytes, since Go 1.20 the line where it starts, the number of
// functions that the runtime knows, and the flags (runtime2.go, _func).
func (t *Table) assembly(off uint64) bool {
	flag := off + uint64(t.width) + 8*4 + 1
	switch t.magic {
	case magicGo120:
		flag += 4
	case magicGo118:
	default:
		return false
	}
	return flag >= off && flag < uint64(len(t.data)) && t.data[flag]&funcFlagAsm != 0
}
