package build

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// someMaps are maps' contents: key and values, by map.
type someMaps map[string][][][]byte

func (s someMaps) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		for _, e := range s[name] {
			if !yield(e[0], e[1:]) {
				return
			}
		}
	}
}

var some = someMaps{
	"hash":  {{{1, 0}, {2, 0, 0, 0}, {3, 0, 0, 0}}, {{2, 0}, {0, 0, 0, 0}, {0, 0, 1, 0}}},
	"array": {{{0, 0, 0, 0}, {0, 0, 0}}, {{1, 0, 0, 0}, {1, 2, 3}}},
}

var someSpecs = []program.Map{
	{Name: "hash", Type: program.PerCPUHash}, {Name: "array", Type: program.Array},
	{Name: "ring", Type: program.RingBuf}, {Name: "const", Type: program.Array, ReadOnly: true},
}

func TestTyped(t *testing.T) {
	got := ""
	for e, err := range Typed[uint16, struct{ A, B uint16 }](some, "hash") {
		got += fmt.Sprint(e, err, "; ")
	}
	if want := "{1 [{2 0} {3 0}]} <nil>; {2 [{0 0} {0 1}]} <nil>; "; got != want {
		t.Errorf("%s, should be %s", got, want)
	}
	for _, err := range Typed[uint16, uint64](some, "hash") {
		if err == nil || !strings.Contains(err.Error(), "4 bytes") {
			t.Errorf("a value of another size: %v", err)
		}
	}
}

func TestDump(t *testing.T) {
	d := DumpOf(some, someSpecs)
	var text strings.Builder
	if err := d.Text(&text, 80); err != nil {
		t.Fatal(err)
	}
	want := "hash (percpu_hash, 2)\n  1: 2 3\n  2: 0 65536\narray (array, 1)\n  1: 010203\n"
	if text.String() != want {
		t.Errorf("%s\nshould be\n%s", text.String(), want)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want = `[{"name":"hash","type":"percpu_hash","entries":[{"key":1,"values":[2,3]},{"key":2,"values":[0,65536]}]},` +
		`{"name":"array","type":"array","entries":[{"key":1,"values":["010203"]}]}]`
	if string(b) != want {
		t.Errorf("%s\nshould be\n%s", b, want)
	}
}
