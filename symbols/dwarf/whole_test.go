package dwarf

import (
	"debug/elf"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"

	sd "debug/dwarf"
)

// walk calls f for each entry of a unit.
func walk(t testing.TB, u *Unit, f func(Entry)) {
	t.Helper()
	root, err := u.Root()
	if err != nil {
		t.Fatal(err)
	}
	c, err := u.cursor(root.Offset())
	if err != nil {
		t.Fatal(err)
	}
	for e, ok := c.next(); ok; e, ok = c.next() {
		if e.Tag() != 0 {
			f(e)
		}
	}
	if c.Err != nil {
		t.Fatalf("unit %#x: %v", u.off, c.Err)
	}
}

// called reports whether one of the symbols is of a function: it may have what a compiler adds to
// the name of a part or a copy, and a static one has no linkage name.
func called(symbols map[string]bool, name string) bool {
	name = strings.ReplaceAll(name, "·", ".") // Go's linker does
	for s := range symbols {
		if base, _, _ := strings.Cut(s, "."); s == name || base == name || strings.HasPrefix(s, name+".") || strings.HasPrefix(s, "_ZL") && strings.Contains(s, name) {
			return true
		}
	}
	return false
}

// whole checks what is read of a file, split or not, against its symbols: each function's address,
// and that ranges, locations, names and references of all entries can be read.
func whole(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, _ := f.Symbols()
	at := map[uint64]map[string]bool{}
	for _, s := range syms {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			if at[s.Value] == nil {
				at[s.Value] = map[string]bool{}
			}
			at[s.Value][s.Name] = true
		}
	}
	d := read(t, path)
	units, err := d.Units()
	if err != nil {
		t.Fatal(err)
	}
	functions, ranges, locations, texts, refs := 0, 0, 0, 0, 0
	for _, u := range units {
		u, err := u.Whole()
		if err != nil {
			t.Fatal(err)
		}
		walk(t, u, func(e Entry) {
			if list, err := e.Ranges(); err != nil {
				t.Fatalf("%#x %v: ranges: %v", e.Offset(), e.Tag(), err)
			} else {
				ranges += len(list)
			}
			for attr, v := range e.Attrs {
				switch attr {
				case sd.AttrLocation, sd.AttrFrameBase, sd.AttrDataMemberLoc:
					if _, number := v.Uint(); number && v.Form != raw.FormSecOffset && u.format.Version > 2 {
						continue
					}
					list, err := e.Locations(attr)
					if err != nil {
						t.Fatal(err)
					}
					locations += len(list)
				case sd.AttrType, sd.AttrAbstractOrigin, sd.AttrSpecification, sd.AttrImport:
					if _, _, err := e.Ref(attr); err != nil {
						t.Fatal(err)
					}
					refs++
				case sd.AttrName, sd.AttrLinkageName, sd.AttrProducer:
					if s, err := u.text(v); err != nil {
						t.Fatal(err)
					} else if s == "" && attr != sd.AttrName {
						t.Errorf("%#x: %v is empty", e.Offset(), attr)
					}
					texts++
				}
			}
			if low, ok := e.Addr(sd.AttrLowpc); ok && e.Tag() == sd.TagSubprogram && low != 0 {
				name := e.LinkageName()
				if name == "" {
					name = e.Name()
				}
				if at[low] != nil && !called(at[low], name) {
					t.Errorf("%#x: %s is not at %#x, where %v is", e.Offset(), name, low, at[low])
				}
				if at[low] != nil {
					functions++
				}
			}
		})
	}
	t.Logf("%s: %d functions, %d ranges, %d locations, %d names, %d references", path, functions, ranges, locations, texts, refs)
	if functions == 0 {
		t.Error("no function")
	}
}
