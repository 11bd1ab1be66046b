package symbols

import (
	"errors"

	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/gofile"
)

// findSources lists where this file's functions are named. A full .symtab is
// enough; without it everything else is looked at that may say more than
// .dynsym.
func (f *File) findSources() []elffile.Source {
	var list []elffile.Source
	t, ok := elffile.NewTable(f.obj, f.obj, ".symtab")
	if ok {
		list = append(list, t)
	}
	d, dyn := elffile.NewTable(f.obj, f.obj, ".dynsym")
	if !dyn && len(f.obj.Sections) == 0 {
		d, dyn = elffile.DynamicTables(f.obj)
	}
	if dyn {
		list = append(list, d)
	}
	if ok {
		return list
	}
	mini := func() (*elffile.Table, error) { return f.obj.MiniDebug(f.name) }
	debug := func() (*elffile.Table, error) { return f.obj.DebugFile(f.name, f.root) }
	for _, open := range []func() (*elffile.Table, error){mini, debug} {
		switch t, err := open(); {
		case err == nil:
			list = append(list, t)
		case !errors.Is(err, elffile.ErrNoTable):
			f.unread.Note(err)
		}
	}
	if g, ok := gofile.New(f.obj); ok {
		list = append(list, g)
	}
	return list
}
