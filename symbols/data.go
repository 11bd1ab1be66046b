package symbols

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Variable is where a variable of the file's own symbol table lies, as the file
// is linked. Stripped files have none. The table is read once for each name.
func (f *File) Variable(name string) (at arch.Addr, ok bool) {
	if v, known := f.variables.Load(name); known {
		at = v.(arch.Addr)
		return at, at != 0
	}
	if t, ok := elffile.NewTable(f.obj, f.obj, ".symtab"); ok {
		at = t.Variable(name)
	}
	f.variables.Store(name, at)
	return at, at != 0
}

// Slots lists the words of f that get the address of what has one of the names.
func (f *File) Slots(names []string) (list []elffile.Slot) {
	for _, name := range names {
		list = append(list, f.slots().Named[name]...)
	}
	return list
}

// ResolverSlots lists the words of f that get what its resolver at vaddr gives back.
func (f *File) ResolverSlots(vaddr arch.Addr) []elffile.Slot { return f.slots().Resolved[vaddr] }
