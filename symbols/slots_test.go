package symbols

import (
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/symbols/elffile"
)

func resolved(t *testing.T, f *File, location string) []Target {
	t.Helper()
	loc, err := ParseLocation(location)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := loc.Resolve(f, isaOf(f))
	if err != nil {
		t.Fatalf("%s: %v", location, err)
	}
	return targets
}

// TestIfuncTargets asks for an IFUNC by its name, by its resolver's, by a pattern, and for
// a part of it.
func TestIfuncTargets(t *testing.T) {
	f := open(t, fixture.Path(t, "chosen"))
	for location, want := range map[string]Target{"foo": {Name: "foo", Ifunc: true}, "fo*": {Name: "foo", Ifunc: true}, "foo%return": {Name: "foo", Ifunc: true},
		"resolve_foo": {Name: "resolve_foo"}, "foo+0": {Name: "foo+0", Resolver: true}, "plain": {Name: "plain"}} {
		targets := resolved(t, f, location)
		if len(targets) != 1 || targets[0].Name != want.Name || targets[0].Ifunc != want.Ifunc || targets[0].Resolver != want.Resolver {
			t.Errorf("%s: %+v", location, targets)
		}
	}
	foo, plain := resolved(t, f, "foo")[0], resolved(t, f, "plain")[0]
	loc, _ := ParseLocation("foo%return")
	exits, err := loc.Implementation(f, isaOf(f), plain.Function.Addr, foo.Name)
	if err != nil || len(exits) != 1 || exits[0].Name != "foo%return" || !plain.Function.Contains(exits[0].Addr) {
		t.Errorf("%+v, %v", exits, err)
	}
}

// TestClones has each clone of a function by that one's name.
func TestClones(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		return // the fixture has none
	}
	f := open(t, fixture.Path(t, "chosen"))
	targets := resolved(t, f, "work")
	if len(targets) != 2 || targets[0].Addr == targets[1].Addr {
		t.Errorf("%+v", targets)
	}
	for _, target := range targets {
		if target.Name != "work" || target.Ifunc || target.Function.Ifunc {
			t.Errorf("%+v", target)
		}
	}
	if all := resolved(t, f, "work.avx2"); len(all) != 1 || all[0].Name != "work.avx2" {
		t.Errorf("%+v", all)
	}
	for name, want := range map[string]bool{"work.sse4.2": true, "work.default.1": true, "work.avx2.cold": false, "work.constprop.0": false, "work.resolver": false, "works.avx2": false} {
		if isClone(name, "work.") != want {
			t.Errorf("%s: a clone: %v", name, !want)
		}
	}
}

// TestSlots finds the words that an IFUNC's address goes to: in a file that defines it,
// one without a loader, and one that calls it.
func TestSlots(t *testing.T) {
	for name, own := range map[string]bool{"chosen": true, "chosen-now": true, "chosen-static": true, "chosen-static-pie": true, "chosen-user.so": false} {
		f := open(t, fixture.Path(t, name))
		var list []elffile.Slot
		if own {
			list = f.ResolverSlots(resolved(t, f, "foo")[0].Addr)
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
