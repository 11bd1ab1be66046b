package location

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/symbols"
)

func TestResolve(t *testing.T) {
	path := compile(t, "gcc", "-O2", "names.c", "other.c", "exits.c", "calls.c")
	f := open(t, path)
	at := func(name string) arch.Addr { return resolve(t, f, name)[0].Addr }
	plain, err := f.Lookup("plain")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := f.Instructions(isaOf(f), plain[0])
	if err != nil {
		t.Fatal(err)
	}
	second := starts[1] - starts[0]
	for text, want := range map[string]string{
		"plain":                           "plain",
		"x:plain_alias":                   "plain_alias",
		fmt.Sprintf("plain+%d", second):   fmt.Sprintf("plain+%d", second),
		"plain%return":                    "plain%return",
		"helper":                          "helper@" + at("helper").String() + " helper@" + resolve(t, f, "helper")[1].Addr.String(),
		"helper@" + at("helper").String(): "helper",
		"chosen":                          "__chosen_avx2 __chosen_sse2",
		"*" + at("plain").String():        "*" + at("plain").String(),
		"wea?_one":                        "weak_one",
	} {
		var names []string
		for _, target := range resolve(t, f, text) {
			names = append(names, target.Name)
			if target.Function.Name == "" || !target.Function.Contains(target.Addr) {
				t.Errorf("%s: %+v", text, target)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s means %s, want %s", text, got, want)
		}
	}
	if got := resolve(t, f, "plain+*"); len(got) != len(starts) || got[1].Addr != starts[1] || got[1].Name != fmt.Sprintf("plain+%d", second) {
		t.Errorf("plain+*: %+v", got)
	}
	resolveErrors(t, f)
}

func resolveErrors(t *testing.T, f *symbols.File) {
	for text, want := range map[string]error{
		"plane": symbols.ErrNotFound, "pl?ne": symbols.ErrNotFound, "*0": symbols.ErrNoText, "plain+1000000": ErrBeyond, "plain+1": ErrInside,
		"never%return": ErrNoExits, "a.c:12": symbols.ErrNoSource, "helper@0x1": symbols.ErrNotFound,
	} {
		l, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if targets, err := l.Resolve(f, isaOf(f)); !errors.Is(err, want) || len(targets) > 0 {
			t.Errorf("%s: got %+v, %v; want %v", text, targets, err, want)
		}
	}
}

func TestSuggestions(t *testing.T) {
	f := open(t, compile(t, "gcc", "-O2", "names.c", "other.c"))
	g := open(t, compile(t, "g++", "-O2", "mangled.cc"))
	for _, c := range []struct {
		f            *symbols.File
		asked, first string
	}{
		{f, "plane", "plain"}, {f, "Plain", "plain"}, {f, "week_one", "weak_one"}, {f, "hlepre", "helper"}, {f, "alias", "plain_alias"},
		{g, "Cart::ad", "shop::Cart::add"}, {f, "qqqqqqqq", ""},
	} {
		l, _ := Parse(c.asked)
		_, err := l.Resolve(c.f, isaOf(c.f))
		var nf *NotFoundError
		if !errors.As(err, &nf) {
			t.Errorf("%s: %v", c.asked, err)
			continue
		}
		got := append(nf.Suggestions(), "")
		if !strings.HasPrefix(got[0], c.first) || c.first == "" && got[0] != "" {
			t.Errorf("%s: suggests %q, want %s first", c.asked, got, c.first)
		}
		if c.first != "" && !strings.Contains(err.Error(), c.first) {
			t.Errorf("%s: %v", c.asked, err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		limit, want int
	}{
		{"", "", 1, 0}, {"a", "", 1, 1}, {"abc", "abc", 1, 0}, {"abc", "acb", 2, 1}, {"kitten", "sitting", 4, 3},
		{"kitten", "sitting", 2, 3}, {"a", "abcdef", 2, 3}, {"ab", "ba", 1, 1}, {"malloc", "maloc", 2, 1},
	} {
		if got := distance(c.a, c.b, c.limit); got != c.want {
			t.Errorf("distance(%q, %q, %d) = %d, want %d", c.a, c.b, c.limit, got, c.want)
		}
	}
}

func TestMangled(t *testing.T) {
	path := compile(t, "g++", "-O1", "-fno-ipa-sra", "mangled.cc")
	for name, want := range map[string][]string{
		"shop::Cart::add":                     {"shop::Cart::add(int)", "shop::Cart::add(std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > const&)"},
		"shop::Cart::add(int)":                {"shop::Cart::add(int)"},
		"shop::Cart::operator<":               {"shop::Cart::operator<(shop::Cart const&) const"},
		"shop::Cart::operator()":              {"shop::Cart::operator()(int) const"},
		"shop::Cart::operator+=":              {"shop::Cart::operator+=(int)"},
		"shop::Cart::Cart":                    {"shop::Cart::Cart(int)"},
		"shop::twice":                         {"double shop::twice<double>(double)", "int shop::twice<int>(int)"},
		"shop::twice<int>":                    {"int shop::twice<int>(int)"},
		"shop::*::add":                        {"shop::Cart::add(int)", "shop::Cart::add(std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > const&)"},
		"_ZN4shop4Cart3addEi":                 {"shop::Cart::add(int)"},
		"shop::use":                           {"shop::use(int)"},
		"shop::(anonymous namespace)::hidden": {"shop::(anonymous namespace)::hidden(int)"},
	} {
		for _, whole := range []bool{false, true} {
			f := open(t, path)
			if whole {
				if _, err := f.Functions(); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, target := range resolve(t, f, name) {
				got = append(got, target.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s (whole table: %v): got %q, want %q", name, whole, got, want)
			}
		}
	}
}

// TestIfuncTargets asks for an IFUNC by its name, by its resolver's, by a pattern, and for
// a part of it.
func TestIfuncTargets(t *testing.T) {
	f := open(t, fixture.Path(t, "chosen"))
	for location, want := range map[string]Target{"foo": {Name: "foo", Ifunc: true}, "fo*": {Name: "foo", Ifunc: true}, "foo%return": {Name: "foo", Ifunc: true},
		"resolve_foo": {Name: "resolve_foo"}, "foo+0": {Name: "foo+0", Resolver: true}, "plain": {Name: "plain"}} {
		targets := resolve(t, f, location)
		if len(targets) != 1 || targets[0].Name != want.Name || targets[0].Ifunc != want.Ifunc || targets[0].Resolver != want.Resolver {
			t.Errorf("%s: %+v", location, targets)
		}
	}
	foo, plain := resolve(t, f, "foo")[0], resolve(t, f, "plain")[0]
	loc, _ := Parse("foo%return")
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
	targets := resolve(t, f, "work")
	if len(targets) != 2 || targets[0].Addr == targets[1].Addr {
		t.Errorf("%+v", targets)
	}
	for _, target := range targets {
		if target.Name != "work" || target.Ifunc || target.Function.Ifunc {
			t.Errorf("%+v", target)
		}
	}
	if all := resolve(t, f, "work.avx2"); len(all) != 1 || all[0].Name != "work.avx2" {
		t.Errorf("%+v", all)
	}
}

// TestColdPart: a cold part is no function of a pattern, and its exits are of the function
// that it is of.
func TestColdPart(t *testing.T) {
	f := open(t, compile(t, "gcc", "-O2", "-fno-inline", "exits.c", "calls.c", "exits_other.c"))
	cold, err := f.Lookup("rare_path.cold")
	if err != nil || len(cold) != 1 {
		t.Fatalf("%+v, %v: the compiler makes no cold part?", cold, err)
	}
	for _, target := range resolve(t, f, "rare_p*") {
		if target.Name != "rare_path" {
			t.Errorf("rare_p* means %s, too", target.Name)
		}
	}
	found := false
	for _, target := range resolve(t, f, "rare_path%return") {
		found = found || cold[0].Contains(target.Addr)
		if target.Name != "rare_path%return" || target.Exit == nil {
			t.Errorf("%+v", target)
		}
	}
	if !found {
		t.Error("no exit in the cold part")
	}
}

// TestGo: exits of functions of a Go program, by names as Go's stack traces have them.
func TestGo(t *testing.T) {
	f := open(t, fixture.Path(t, "gowork"))
	for _, text := range []string{"main.work%return", "main.main%return", "runtime.(*mcache).nextFree%return", "sync.(*Mutex).*%return"} {
		if targets := resolve(t, f, text); len(targets) == 0 {
			t.Errorf("%s is nowhere", text)
		}
	}
}

// TestUnread: beside a name that is not found stands what could not be read.
func TestUnread(t *testing.T) {
	forged := (&forge.File{}).With(".gnu_debugdata", elf.SHT_PROGBITS, elf.Section64{}, []byte("no xz data at all"))
	b := forged.Bytes()
	f, err := symbols.NewFile(bytes.NewReader(b), int64(len(b)), "forged")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Location{Function: "helper"}.Resolve(f, isaOf(f))
	if !errors.Is(err, symbols.ErrNotFound) || !strings.Contains(err.Error(), "; some names are not known: cannot read forged: ") {
		t.Error(err)
	}
}

// FuzzResolve resolves locations in files that are anything.
func FuzzResolve(f *testing.F) {
	dir := filepath.Join("..", "testdata")
	if _, err := os.Stat(dir); err != nil {
		skip.Missing(f, dir) // on a machine that has this package's tests alone
	}
	seeds, err := filepath.Glob(filepath.Join(dir, "*.elf"))
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range seeds {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "plain")
		f.Add(b, "a::b<c>(d)")
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		file, err := symbols.NewFile(bytes.NewReader(b), int64(len(b)), "fuzz")
		if err != nil {
			return
		}
		for _, text := range []string{name, "*a*", "*0x1000", "*.c:3", "plain:3"} {
			if l, err := Parse(text); err == nil {
				if _, err := l.Resolve(file, isaOf(file)); err != nil {
					_ = err.Error()
				}
			}
		}
	})
}
