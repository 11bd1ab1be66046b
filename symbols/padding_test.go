package symbols

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestPadding finds the traps that nothing leads to, and takes no others for padding.
func TestPadding(t *testing.T) {
	f := open(t, compile(t, "gcc", "-nostdlib", "-static", "padding.S"))
	if isaOf(f).MinInst() != 1 {
		skip.Missing(t, "an amd64 compiler")
	}
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"_start": true, "room": true, "last": true}
	for i, fn := range fns[:len(fns)-1] {
		got := f.Padding(isaOf(f), fn.Addr, fns[i+1].Addr, 5)
		if (len(got) > 0) != want[fn.Name] {
			t.Errorf("%s: %v", fn.Name, got)
		}
		for n, at := range got {
			if at < fn.End() || at+5 > fns[i+1].Addr || slices.ContainsFunc(got[:n], func(x arch.Addr) bool { return at < x+5 && x < at+5 }) {
				t.Errorf("%s, which ends at %v: %v", fn.Name, fn.End(), got)
			}
		}
	}
}

var neverGoesOn = regexp.MustCompile(`^(ret|jmp|ud2)`)

// TestPaddingGo holds all that is found in a Go program against objdump.
func TestPaddingGo(t *testing.T) {
	path := fixture.Path(t, "gopanic")
	f := open(t, path)
	isa := isaOf(f)
	if isa.MinInst() != 1 {
		skip.Missing(t, "an amd64 program")
	}
	at, before := objdump(t, "objdump", path), map[arch.Addr]arch.Addr{}
	order := slices.Sorted(maps.Keys(at))
	for i, a := range order[1:] {
		before[a] = order[i]
	}
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	places, functions := 0, 0
	for i, fn := range fns[:len(fns)-1] {
		list := f.Padding(isa, fn.Addr, fns[i+1].Addr, 5)
		if len(list) > 0 {
			functions++
		}
		for _, p := range list {
			places++
			for a := p; a < p+5; a++ {
				if at[a] != "int3" {
					t.Errorf("%s: at %v is %q", fn.Name, a, at[a])
				}
			}
			a := before[p]
			for at[a] == "int3" {
				a = before[a]
			}
			if !neverGoesOn.MatchString(strings.TrimSpace(at[a])) {
				t.Errorf("%s: %v lies behind %q", fn.Name, p, at[a])
			}
		}
	}
	if t.Logf("%d places behind %d of %d functions", places, functions, len(fns)); functions < len(fns)/2 {
		t.Error("too few")
	}
}
