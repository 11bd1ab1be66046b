package symbols

import (
	"bufio"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// exitKinds counts a function's exits by kind.
func exitKinds(t *testing.T, f *File, name string) string {
	t.Helper()
	fns, err := f.Lookup(name)
	if err != nil || len(fns) != 1 {
		t.Fatalf("%s: %+v, %v", name, fns, err)
	}
	exits, err := f.Exits(isaOf(f), fns[0])
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range exits {
		kinds = append(kinds, e.Kind.String())
	}
	slices.Sort(kinds)
	return strings.Join(slices.Compact(kinds), ", ")
}

func TestExits(t *testing.T) {
	for _, compiler := range compilers {
		for _, strip := range []bool{false, true} {
			args := []string{"-O2", "-fno-stack-protector", "-fno-inline", "exits.c", "calls.c", "exits_other.c", "-rdynamic"}
			path := compile(t, compiler, args...)
			if strip {
				run(t, strings.TrimSuffix(compiler, "gcc")+"strip", path)
			}
			f := open(t, path)
			for name, want := range map[string]string{
				"one_return": "return", "tail_jump": "tail jump", "tail_branch": "return, tail jump", "indirect": "tail indirect",
				"never": "", "gone": "", "rare_path": "return",
			} {
				if got := exitKinds(t, f, name); got != want {
					t.Errorf("%s, stripped %v: %s exits by %q, want %q", compiler, strip, name, got, want)
				}
			}
			if got := exitKinds(t, f, "table"); !strings.HasPrefix(got, "return, tail") {
				t.Errorf("%s: table exits by %q", compiler, got)
			}
		}
	}
}

// TestTailBranch has a conditional jump to another function, which gcc never
// makes.
func TestTailBranch(t *testing.T) {
	path := compile(t, "gcc", "-nostdlib", "-static", "branch.S")
	if got := exitKinds(t, open(t, path), "_start"); got != "return, tail branch" {
		t.Error(got)
	}
}

// TestTailJumpToLibrary: a jump to another library's function goes by a stub.
func TestTailJumpToLibrary(t *testing.T) {
	for _, compiler := range compilers {
		for _, flag := range []string{"-fcf-protection=none", "-Wl,-z,now", "-Wl,-z,ibtplt"} {
			if compiler != "gcc" && flag != "-Wl,-z,now" {
				continue
			}
			path := compile(t, compiler, "-O2", "-shared", "-fPIC", "-fno-ipa-sra", flag, "exits.c")
			run(t, strings.TrimSuffix(compiler, "gcc")+"strip", path)
			f := open(t, path)
			for name, want := range map[string]string{"tail_jump": "tail jump", "tail_branch": "return, tail jump"} {
				if got := exitKinds(t, f, name); got != want {
					t.Errorf("%s %s: %s exits by %q, want %q", compiler, flag, name, got, want)
				}
			}
		}
	}
}

func TestColdPart(t *testing.T) {
	path := compile(t, "gcc", "-O2", "-fno-inline", "exits.c", "calls.c", "exits_other.c")
	f := open(t, path)
	fns, err := f.Lookup("rare_path")
	if err != nil || len(fns) != 1 {
		t.Fatal(fns, err)
	}
	parts, err := f.Parts(isaOf(f), fns[0])
	if err != nil || len(parts) != 2 {
		t.Fatalf("parts %+v, %v: the compiler makes no cold part?", parts, err)
	}
	cold, err := f.Lookup("rare_path.cold")
	if err != nil || len(cold) != 1 || cold[0].Addr != parts[1].Start {
		t.Errorf("cold part %+v, %v; parts %+v", cold, err, parts)
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
	// The same from the table: another way to find parts.
	if _, err := f.Functions(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Parts(isaOf(f), fns[0])
	if err != nil || !slices.Equal(parts, again) {
		t.Errorf("from the table %+v, %v; want %+v", again, err, parts)
	}
}

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

func resolveErrors(t *testing.T, f *File) {
	for text, want := range map[string]error{
		"plane": ErrNotFound, "pl?ne": ErrNotFound, "*0": ErrNoText, "plain+1000000": ErrBeyond, "plain+1": ErrInside,
		"never%return": ErrNoExits, "a.c:12": errors.ErrUnsupported, "helper@0x1": ErrNotFound,
	} {
		l, err := ParseLocation(text)
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
		f            *File
		asked, first string
	}{
		{f, "plane", "plain"}, {f, "Plain", "plain"}, {f, "week_one", "weak_one"}, {f, "hlepre", "helper"}, {f, "alias", "plain_alias"},
		{g, "Cart::ad", "shop::Cart::add"}, {f, "qqqqqqqq", ""},
	} {
		l, _ := ParseLocation(c.asked)
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

var objdumpLine = regexp.MustCompile(`^ *([0-9a-f]+):\t([0-9a-f ]+)\t?(.*)$`)

// objdump is where the instructions of a file start, and what they are.
func objdump(t *testing.T, program, path string) map[arch.Addr]string {
	all := map[arch.Addr]string{}
	lines := bufio.NewScanner(strings.NewReader(run(t, program, "-d", "-w", "-z", path)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := objdumpLine.FindStringSubmatch(lines.Text()); m != nil {
			a, err := strconv.ParseUint(m[1], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			all[arch.Addr(a)] = m[3]
		}
	}
	return all
}

// TestInstructionsAgainstObjdump: where objdump sees instructions in functions
// we do, but for padding.
func TestInstructionsAgainstObjdump(t *testing.T) {
	files := map[string]string{tool(t, "bash"): "objdump"}
	for _, compiler := range compilers {
		files[compile(t, compiler, "-O2", "-static", "names.c", "other.c")] = strings.TrimSuffix(compiler, "gcc") + "objdump"
	}
	for path, program := range files {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			f := open(t, path)
			want := objdump(t, program, path)
			fns, err := f.Functions()
			if err != nil {
				t.Fatal(err)
			}
			bad, total := 0, 0
			for _, fn := range fns {
				starts, err := f.Instructions(isaOf(f), fn)
				if err != nil {
					t.Errorf("%s: %v", fn.Name, err)
				}
				total += len(starts)
				for _, a := range starts {
					if _, ok := want[a]; !ok {
						if bad++; bad < 10 {
							t.Logf("%s: an instruction at +%d, not for objdump", fn.Name, a-fn.Addr)
						}
					}
				}
			}
			if total < 1000 || bad > 0 {
				t.Errorf("%d of %d instructions are none for objdump", bad, total)
			}
		})
	}
}

// returns are the instructions that TestReturnsAgainstObjdump looks for.
var returns = regexp.MustCompile(`^(repz? |bnd |notrack )*(ret|retq|retaa|retab)\b`)

// TestReturnsAgainstObjdump: every return that objdump sees in a function is an
// exit of it.
func TestReturnsAgainstObjdump(t *testing.T) {
	for _, compiler := range compilers {
		path := compile(t, compiler, "-O2", "-static", "names.c", "other.c")
		f := open(t, path)
		want := objdump(t, strings.TrimSuffix(compiler, "gcc")+"objdump", path)
		fns, err := f.Functions()
		if err != nil {
			t.Fatal(err)
		}
		exits := map[arch.Addr]ExitKind{}
		for _, fn := range fns {
			list, err := f.Exits(isaOf(f), fn)
			if err != nil {
				t.Errorf("%s: %v", fn.Name, err)
			}
			for _, e := range list {
				exits[e.Addr] = e.Kind
				if e.Kind == Return != returns.MatchString(want[e.Addr]) {
					t.Errorf("%s+%d: %v, but objdump has %s", fn.Name, e.Addr-fn.Addr, e.Kind, want[e.Addr])
				}
			}
		}
		n := 0
		for a, text := range want {
			if _, ok := f.FunctionAt(a); !ok || !returns.MatchString(text) {
				continue
			}
			if n++; exits[a] != Return {
				t.Errorf("%s is no return: %s", a, text)
			}
		}
		if n < 100 {
			t.Errorf("only %d returns: objdump's form has changed?", n)
		}
	}
}
