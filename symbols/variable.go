package symbols

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

// Variable is where a variable of the file's own symbol table lies, as the file
// is linked. Stripped files have none. The table is read once for each name.
func (f *File) Variable(name string) (at arch.Addr, ok bool) {
	if v, known := f.variables.Load(name); known {
		at = v.(arch.Addr)
		return at, at != 0
	}
	at = f.variable(name)
	f.variables.Store(name, at)
	return at, at != 0
}

// variable reads the table; 0: it has no such name.
func (f *File) variable(name string) (at arch.Addr) {
	t, ok := newSymtab(f.obj, f.obj, ".symtab")
	if !ok {
		return 0
	}
	found, err := t.strings(name, true)
	if err != nil || len(found) == 0 {
		return 0
	}
	err = t.entries(func(e entry) error {
		if elf.ST_TYPE(e.info()) == elf.STT_OBJECT && e.shndx() != 0 {
			if s, ok := found.at(e.name()); ok && s == name {
				at = arch.Addr(e.value())
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return at
}
