package symbols

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
)

// TestDistinct has places on the ways through a function: which of them have to be counted, so that
// each way is counted once, and each round of a loop.
func TestDistinct(t *testing.T) {
	path := compile(t, "gcc", "-no-pie", "flow.S")
	f := open(t, path)
	at := map[string]arch.Addr{}
	for line := range strings.Lines(forge.Run(t, "nm", path)) {
		if word := strings.Fields(line); len(word) == 3 && strings.HasPrefix(word[2], "place_") {
			n, err := strconv.ParseUint(word[0], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			at[strings.TrimPrefix(word[2], "place_")] = arch.Addr(n)
		}
	}
	main, err := f.Lookup("main")
	if err != nil || len(main) != 1 {
		t.Fatal(main, err)
	}
	at["main"] = main[0].Addr
	fn, ok := f.FunctionAt(at["entry"])
	if !ok {
		t.Fatal("no function")
	}
	flow, err := ReadFlow(f, isaOf(f), fn)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ places, want string }{
		{"left", "left"},
		{"left right", "left right"},               // two ways
		{"left join", "left join"},                 // one way past left
		{"left right join", "left right"},          // no way past both
		{"entry left right join end", "entry"},     // all behind the entry
		{"join head", "join head"},                 // a round of the loop without join
		{"head body", "head"},                      // in one round
		{"join body main", "join body main"},       // main is of another function
		{"left right body end", "left right body"}, // end once, behind the loop
	} {
		var list []arch.Addr
		for _, name := range strings.Fields(c.places) {
			list = append(list, at[name])
		}
		slices.Sort(list)
		var got []string
		for _, a := range flow.Distinct(list) {
			for name, of := range at {
				if of == a {
					got = append(got, name)
				}
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("of %s: %s, want %s", c.places, text, c.want)
		}
	}
}
