package mangled

import (
	"strings"
	"testing"
)

// TestReads: names as people write them, of mangled ones, each of which has the part that is
// searched for.
func TestReads(t *testing.T) {
	for _, c := range []struct {
		name, like string
		want       bool
	}{
		{"_ZN4shop4Cart3addEi", "shop::Cart::add", true}, {"_ZN4shop4Cart3addEi", "shop::Cart::add(int)", true},
		{"_ZN4shop4Cart3addEi", "shop::Cart::add( int )", true}, {"_ZN4shop4Cart3addEi", "shop::Cart::add(long)", false},
		{"_ZN4shop4Cart3addEi", "add", false}, {"_ZN4shop4Cart3addEi.cold", "shop::Cart::add", false},
		{"_ZN4shop5twiceIdEET_S1_", "shop::twice", true}, {"_ZN4shop5twiceIdEET_S1_", "shop::twice<double>", true}, {"_ZN4shop5twiceIdEET_S1_", "double shop::twice<double>(double)", true},
		{"_ZN4shop5twiceIdEET_S1_", "shop::twice<int>", false},
		{"main.first[go.shape.int]", "main.first[...]", true}, {"main.first[go.shape.int]", "main.last[...]", false},
		{"main.first", "main.first[...]", false}, {"plain", "plain", false},
	} {
		if got := Reads(c.name, c.like); got != c.want {
			t.Errorf("%s reads like %s: %v", c.name, c.like, got)
		}
		if part := Part(c.like); c.want && !strings.Contains(c.name, part) {
			t.Errorf("%q, for %s, is not in %s", part, c.like, c.name)
		}
	}
}

func TestCold(t *testing.T) {
	for name, want := range map[string]string{"f.cold": "f", "f.cold.1": "f", "f.part.0.cold": "f.part.0", ".cold": "", "f.colder": "", "f": ""} {
		if got, ok := Cold(name); got != want || ok != (want != "") {
			t.Errorf("%s is of %q, %v", name, got, ok)
		}
	}
}
