package symbols

import (
	"bufio"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
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
				forge.Run(t, strings.TrimSuffix(compiler, "gcc")+"strip", path)
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
			forge.Run(t, strings.TrimSuffix(compiler, "gcc")+"strip", path)
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
	// The same from the table: another way to find parts.
	if _, err := f.Functions(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Parts(isaOf(f), fns[0])
	if err != nil || !slices.Equal(parts, again) {
		t.Errorf("from the table %+v, %v; want %+v", again, err, parts)
	}
}

var objdumpLine = regexp.MustCompile(`^ *([0-9a-f]+):\t([0-9a-f ]+)\t?(.*)$`)

// objdump is where the instructions of a file start, and what they are.
func objdump(t *testing.T, program, path string) map[arch.Addr]string {
	all := map[arch.Addr]string{}
	lines := bufio.NewScanner(strings.NewReader(forge.Run(t, program, "-d", "-w", "-z", path)))
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
	files := map[string]string{forge.Tool(t, "bash"): "objdump"}
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
