package symbols

import (
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// TestSlots finds the words that an IFUNC's address goes to: in a file that defines it,
// one without a loader, and one that calls it.
func TestSlots(t *testing.T) {
	for name, own := range map[string]bool{"chosen": true, "chosen-now": true, "chosen-static": true, "chosen-static-pie": true, "chosen-user.so": false} {
		f := open(t, fixture.Path(t, name))
		var list []elffile.Slot
		if own {
			foo, err := f.Lookup("foo")
			if err != nil || len(foo) != 1 {
				t.Fatalf("%s: %+v, %v", name, foo, err)
			}
			list = f.ResolverSlots(foo[0].Addr)
		} else {
			list = f.Slots([]string{"foo"})
		}
		if len(list) == 0 || list[0].Addr == 0 {
			t.Errorf("%s: %+v", name, list)
		}
		if other := f.Slots([]string{"no_such_name"}); len(other) != 0 || len(f.ResolverSlots(1)) != 0 {
			t.Errorf("%s: %+v", name, other)
		}
	}
}

// TestClone tells clones for CPUs by their names.
func TestClone(t *testing.T) {
	for name, want := range map[string]bool{"work.sse4.2": true, "work.default.1": true, "work.avx2.cold": false, "work.constprop.0": false, "work.resolver": false, "works.avx2": false} {
		if isClone(name, "work.") != want {
			t.Errorf("%s: a clone: %v", name, !want)
		}
	}
}
