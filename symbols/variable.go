package symbols

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

// Variable is where a variable of the file's own symbol table lies, as the file
// is linked. Stripped files have none.
func (f *File) Variable(name string) (at arch.Addr, ok bool) {
	t, ok := newSymtab(f.obj, f.obj, ".symtab")
	if !ok {
		return 0, false
	}
	found, err := t.strings(name, true, func(s string) bool { return s == name })
	if err != nil || len(found) == 0 {
		return 0, false
	}
	err = t.entries(func(e entry) error {
		if elf.ST_TYPE(e.info()) == elf.STT_OBJECT && e.shndx() != 0 {
			if s, ok := found.at(e.name()); ok && s == name {
				at = arch.Addr(e.value())
			}
		}
		return nil
	})
	return at, err == nil && at != 0
}
