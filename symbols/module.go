package symbols

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Module is an ELF object mapped into a process.
type Module struct {
	Path       string           // as the process sees it; "[vdso]" is the kernel's
	Bias       arch.Addr        // address in the process = vaddr + Bias
	Start, End arch.Addr        // all its segments, whole pages
	Ranges     []procfs.Mapping // the executable ones
	File       *File
	Main       bool     // the program itself
	Loader     bool     // the dynamic loader
	Deleted    bool     // the file has no name any more
	Called     []string // of the program: names it was started by, where they are others than its file's
	Part       bool     // a copy of some of the object's code: Start and End are of that
	// Copies are Parts of the same object that the process has mapped elsewhere, and may
	// run there: node maps its built-in functions once more, near to code that it makes.
	Copies []*Module
}

// Contains reports whether a lies between the module's ends.
func (m Module) Contains(a arch.Addr) bool { return a >= m.Start && a < m.End }

// At is the module, or that of its copies, which an address lies in; nil for neither.
func (m *Module) At(a arch.Addr) *Module {
	if m.Contains(a) {
		return m
	}
	for _, c := range m.Copies {
		if c.Contains(a) {
			return c
		}
	}
	return nil
}

// Has reports whether an address can be of the object's code. Of a Part that is what is
// mapped: what lies elsewhere is something else's.
func (m *Module) Has(a arch.Addr) bool {
	return !m.Part || m.Mapped(a)
}

// Mapped reports whether an address lies in what is mapped of the file.
func (m *Module) Mapped(a arch.Addr) bool {
	return slices.ContainsFunc(m.Ranges, func(r procfs.Mapping) bool { return r.Contains(a) })
}

// Base is the last element of the file's path.
func (m *Module) Base() string { return filepath.Base(m.Path) }

// Vaddr is the address in the file of one in the process.
func (m Module) Vaddr(a arch.Addr) arch.Addr { return a - m.Bias }

// Runtime is the address in the process of one in the file.
func (m Module) Runtime(vaddr arch.Addr) arch.Addr { return vaddr + m.Bias }

// Modules lists the ELF objects of pid, given its mappings, by ascending
// address. Those that can't be read are left out, and are told apart; files that
// are no ELF objects are left out silently.
func (c *Cache) Modules(pid int, maps []procfs.Mapping) (mods []Module, unread []*objfile.UnreadError) {
	failed := map[fileID]bool{}
	p := newProcess(pid)
	for _, m := range maps {
		if !m.Executable() || !isObject(m) || failed[idOf(m)] {
			continue
		}
		if add(mods, m) {
			continue
		}
		if len(mods) == maxModules {
			unread = append(unread, &objfile.UnreadError{Err: fmt.Errorf("%d has more than %d objects mapped: %w", pid, maxModules, elffile.ErrBudget)})
			break
		}
		mod, err := c.module(p, m)
		if err == nil {
			mods = append(mods, mod)
			continue
		}
		failed[idOf(m)] = true
		if !errors.Is(err, elffile.ErrNotELF) && !errors.Is(err, objfile.ErrNotRegular) {
			unread = append(unread, &objfile.UnreadError{Path: m.Path, Deleted: m.Deleted, Err: err})
		}
	}
	mods = gather(mods, maps)
	p.mark(mods)
	return mods, unread
}

// MappedIn reports whether mappings have the module where it was found: what can't be opened
// any more, or has another name, is there all the same.
func (m *Module) MappedIn(maps []procfs.Mapping) bool {
	is := m.Ranges[0]
	return slices.ContainsFunc(maps, func(now procfs.Mapping) bool {
		return now.Start == is.Start && now.Dev == is.Dev && now.Inode == is.Inode && now.Executable()
	})
}

// gather finds out which modules are Parts, mapped where the beginning of their object is not,
// and gives those to the module that they are copies of. One without such a module stays as it
// is: its program has put something else in the place of the beginning.
func gather(mods []Module, maps []procfs.Mapping) []Module {
	starts := map[arch.Addr]fileID{}
	for _, m := range maps {
		starts[m.Start] = idOf(m)
	}
	whole := func(mod *Module) bool { return starts[mod.Start] == idOf(mod.Ranges[0]) }
	first := map[fileID]int{} // of the whole ones, their place in all
	var all []Module
	for _, mod := range mods {
		if id := idOf(mod.Ranges[0]); whole(&mod) {
			if _, is := first[id]; !is {
				first[id] = len(all)
			}
			all = append(all, mod)
		}
	}
	for _, mod := range mods {
		if whole(&mod) {
			continue
		}
		if i, ok := first[idOf(mod.Ranges[0])]; ok {
			mod.Part, mod.Start, mod.End = true, mod.Ranges[0].Start, mod.Ranges[len(mod.Ranges)-1].End
			all[i].Copies = append(all[i].Copies, &mod)
		} else {
			all = append(all, mod)
		}
	}
	slices.SortFunc(all, func(a, b Module) int { return cmp.Compare(a.Ranges[0].Start, b.Ranges[0].Start) })
	return all
}

// maxModules is how many objects of a process are looked at: a descriptor is kept for each.
const maxModules = 1 << 12

// isObject reports whether a mapping is of a file, or of the vdso.
func isObject(m procfs.Mapping) bool { return m.Inode != 0 || m.Path == "[vdso]" }

// fileID tells mapped files apart.
type fileID struct {
	dev   string
	inode uint64
	path  string
}

func idOf(m procfs.Mapping) fileID { return fileID{m.Dev, m.Inode, m.Path} }

// add adds a further mapping to the module that it belongs to.
func add(mods []Module, m procfs.Mapping) bool {
	for i := range mods {
		mod := &mods[i]
		if idOf(mod.Ranges[0]) != idOf(m) {
			continue
		}
		if bias, ok := mod.File.obj.Bias(m); ok && bias == mod.Bias {
			mod.Ranges = append(mod.Ranges, m)
			return true
		}
	}
	return false
}

func (c *Cache) module(p process, m procfs.Mapping) (Module, error) {
	f, err := c.open(p, m)
	if err != nil {
		return Module{}, err
	}
	bias, ok := f.obj.Bias(m)
	if !ok {
		return Module{}, fmt.Errorf("%w: no executable segment at offset %#x", elffile.ErrFormat, m.Offset)
	}
	start, end := f.obj.Extent()
	return Module{Path: m.Path, Bias: bias, Start: bias + start, End: bias + end, Ranges: []procfs.Mapping{m}, File: f, Deleted: m.Deleted}, nil
}
