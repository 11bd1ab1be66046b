package symbols

import "errors"

// errNoTable says that there is no further table, or none of this file.
var errNoTable = errors.New("no table")

// findSources lists where this file's functions are named. A full .symtab is
// enough; without it everything else is looked at that may say more than
// .dynsym.
func (f *File) findSources() []source {
	var list []source
	t, ok := newSymtab(f.obj, f.obj, ".symtab")
	if ok {
		list = append(list, t)
	}
	d, dyn := newSymtab(f.obj, f.obj, ".dynsym")
	if !dyn && len(f.obj.sections) == 0 {
		d, dyn = dynamicTables(f.obj)
	}
	if dyn {
		list = append(list, d)
	}
	if ok {
		return list
	}
	for _, open := range []func() (*symtab, error){f.miniDebug, f.debugFile} {
		switch t, err := open(); {
		case err == nil:
			list = append(list, t)
		case !errors.Is(err, errNoTable):
			f.unread.Note(err)
		}
	}
	if g, ok := newGoTable(f.obj); ok {
		list = append(list, g)
	}
	return list
}

// newSymtab finds a table by its section's name in o.
func newSymtab(o, main *object, name string) (*symtab, bool) {
	syms, ok := o.section(name)
	if !ok || uint64(syms.link) >= uint64(len(o.sections)) {
		return nil, false
	}
	t := &symtab{o: o, main: main, syms: syms, strs: o.sections[syms.link]}
	if name == ".dynsym" {
		t.hash = newHash(o)
	}
	return t, true
}
