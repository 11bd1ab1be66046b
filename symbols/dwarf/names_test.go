package dwarf

import (
	"testing"

	sd "debug/dwarf"
)

// named compares the index with a walk over all entries: each name that is looked for is found, at
// each entry that has it.
func named(t *testing.T, path string) {
	t.Helper()
	d := read(t, path)
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, entries := range namesOf(t, d) {
		got := map[where]bool{}
		if err := names.Lookup(name, func(e Entry) bool { got[whereIs(e)] = true; return true }); err != nil {
			t.Fatal(err)
		}
		for at := range entries {
			if !got[at] {
				t.Fatalf("%s is not found at %#x of %s", name, at.off, at.d.where.Path)
			}
		}
		if len(got) != len(entries) {
			t.Fatalf("%s is found %d times, not %d", name, len(got), len(entries))
		}
		n += len(got)
	}
	if n == 0 || n != names.Len() {
		t.Errorf("%d names, not %d", names.Len(), n)
	}
}

// where is where an entry is.
type where struct {
	d   *Data
	off uint64
}

func whereIs(e Entry) where { return where{e.u.d, e.Offset()} }

// namesOf are the names that an index has to have, with the offsets of their entries, by the
// functions that read one entry after the other.
func namesOf(t *testing.T, d *Data) map[string]map[where]bool {
	all := map[string]map[where]bool{}
	note := func(e Entry) {
		if name := e.Name(); name != "" {
			if all[name] == nil {
				all[name] = map[where]bool{}
			}
			all[name][whereIs(e)] = true
		}
	}
	units, err := d.Units()
	if err != nil {
		t.Fatal(err)
	}
	if others, err := d.others(); err != nil {
		t.Fatal(err)
	} else {
		for _, other := range others {
			more, err := other.Units()
			if err != nil {
				t.Fatal(err)
			}
			units = append(units[:len(units):len(units)], more...)
		}
	}
	var below func(e Entry, c bool)
	below = func(e Entry, c bool) {
		err := e.Children(func(e Entry) bool {
			declared := e.Flag(sd.AttrDeclaration)
			switch e.Tag() {
			case sd.TagSubprogram, sd.TagVariable, sd.TagConstant:
				if !declared || e.Has(sd.AttrConstValue) {
					note(e)
				}
			case sd.TagEnumerator:
				note(e)
			case sd.TagTypedef, sd.TagBaseType, sd.TagUnspecifiedType:
				if !declared {
					note(e)
				}
			case sd.TagEnumerationType:
				if !declared {
					note(e)
				}
				below(e, c)
			case sd.TagStructType, sd.TagClassType, sd.TagUnionType, sd.TagInterfaceType:
				if !declared {
					note(e)
				}
				if !c {
					below(e, c)
				}
			case sd.TagNamespace, sd.TagModule:
				below(e, c)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range units {
		root, err := u.Root()
		if err != nil {
			t.Fatal(err)
		}
		language, _ := root.Uint(sd.AttrLanguage)
		below(root, isC(language))
	}
	return all
}
