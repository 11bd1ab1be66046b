package dwarf

import (
	sd "debug/dwarf"
	"testing"

	"github.com/ptracer/ptracer/symbols/dwarf/line"
	"github.com/ptracer/ptracer/symbols/dwarf/raw"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// ofSections is debug information of the given sections alone.
func ofSections(list map[sectionID][]byte, dwo bool) *Data {
	d := newData(&elffile.Object{}, Where{Path: "/nonexistent/file"}, dwo)
	for id := range sections {
		b := list[id]
		if b == nil {
			b = []byte{}
		}
		d.secs[id].once.Do(func() { d.secs[id].sec = &raw.Section{Name: sectionNames[id], Mem: b, Size: uint64(len(b))} })
	}
	return d
}

// all reads all that there is.
func all(d *Data) {
	units, err := d.Units()
	if err != nil {
		return
	}
	for _, u := range units {
		if whole, err := u.Whole(); err == nil {
			u = whole
		}
		if l, err := u.Lines(); err == nil && l != nil {
			n := 0
			_ = l.Rows(func(r *line.Row) bool { l.File(r.File, "/dir"); n++; return n < 1000 })
		}
		root, err := u.Root()
		if err != nil {
			continue
		}
		c, err := u.cursor(root.Offset())
		if err != nil {
			continue
		}
		for n := 0; n < 200; n++ {
			e, ok := c.next()
			if !ok {
				break
			}
			e.Name()
			e.LinkageName()
			_, _ = e.Ranges()
			for attr, v := range e.Attrs {
				_, _ = e.Locations(attr)
				_, _, _ = e.Ref(attr)
				_, _ = u.text(v)
				_, _ = v.Int()
			}
			_ = e.Children(func(child Entry) bool { child.Has(sd.AttrName); return true })
		}
	}
	if names, err := d.Names(); err == nil {
		_ = names.Lookup("sum", func(Entry) bool { return true })
	}
}

// FuzzData reads damaged sections: errors are fine, all else is not.
func FuzzData(f *testing.F) {
	for _, args := range [][]string{{"-gdwarf-4", "-O2"}, {"-gdwarf-5", "-O2"}, {"-gdwarf-5", "-O0", "-gdwarf64"}, {"-gdwarf-2", "-O2"}, {"-gdwarf-4", "-fdebug-types-section"}} {
		d := read(f, forge.Compile(f, "testdata", "gcc", append([]string{"tiny.c", "-nostdlib", "-shared"}, args...)...))
		get := func(ids ...sectionID) (b []byte) {
			for _, id := range ids {
				if s, err := d.section(id); err == nil && len(b) == 0 {
					b, _ = s.At(0, s.Size)
				}
			}
			return b
		}
		f.Add(get(secInfo), get(secAbbrev), get(secStr), get(secLine), get(secRngLists, secRanges), get(secLocLists, secLoc), get(secTypes), false)
	}
	f.Fuzz(func(t *testing.T, info, abbrev, str, line, ranges, locs, types []byte, dwo bool) {
		all(ofSections(map[sectionID][]byte{secInfo: info, secAbbrev: abbrev, secStr: str, secLineStr: str, secStrOffsets: types, secAddr: ranges, secLine: line,
			secRanges: ranges, secRngLists: ranges, secLoc: locs, secLocLists: locs, secTypes: types, secCUIndex: types, secTUIndex: locs}, dwo))
	})
}
