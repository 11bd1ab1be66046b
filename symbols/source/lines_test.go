package source

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/symbols/dwarf"
)

// builds are how lines.cc is compiled.
var builds = []struct {
	name, compiler string
	args           []string
	optimised      bool
}{
	{"gcc-O0", "g++", []string{"-O0"}, false},
	{"gcc-O0-dwarf4", "g++", []string{"-O0", "-gdwarf-4"}, false},
	{"gcc-O2", "g++", []string{"-O2"}, true},
	{"gcc-O3", "g++", []string{"-O3"}, true},
	{"clang-O0", "clang++", []string{"-O0"}, false},
	{"clang-O2", "clang++", []string{"-O2"}, true},
}

// TestLinesAgainstGDB compares the places of each line with where gdb puts breakpoints: all are the
// same in code that was not optimised. In optimised code gdb has one place in each block, which is
// one of those that are found.
func TestLinesAgainstGDB(t *testing.T) {
	source, err := os.ReadFile("testdata/lines.cc")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(string(source), "\n")
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			path := compile(t, b.compiler, append([]string{"lines.cc", "-g", "-fno-omit-frame-pointer"}, b.args...)...)
			s := open(t, path)
			want := breakpoints(t, path, lines, b.optimised)
			n := 0
			for l := 1; l <= lines; l++ {
				places, err := s.Line(Files{Typed: "lines.cc"}, l, 0)
				var none *NoLineError
				if err != nil && !errors.As(err, &none) {
					t.Fatalf("line %d: %v", l, err)
				}
				if none != nil {
					if none.Next != 0 && none.Next <= l {
						t.Errorf("line %d: the next line with code is %d", l, none.Next)
					}
					continue // gdb takes the next line
				}
				var got []arch.Addr
				for _, p := range places {
					got = append(got, p.Addr)
				}
				slices.Sort(got)
				n += len(got)
				if !b.optimised && !slices.Equal(got, want[l]) {
					t.Errorf("line %d is at %v, and for gdb at %v", l, got, want[l])
				}
				if b.optimised && len(want[l]) > 0 && !slices.ContainsFunc(want[l], func(a arch.Addr) bool { return slices.Contains(got, a) }) {
					t.Errorf("line %d is at %v, and for gdb at %v", l, got, want[l])
				}
			}
			if n < 20 {
				t.Errorf("%d places", n)
			}
		})
	}
}

// breakpoints are the addresses of gdb's breakpoints at each line; exact leaves out those that it has
// moved to another line.
func breakpoints(t *testing.T, path string, lines int, exact bool) map[int][]arch.Addr {
	t.Helper()
	args := []string{"-nx", "-batch", "-ex", "set breakpoint pending off"}
	for l := 1; l <= lines; l++ {
		args = append(args, "-ex", fmt.Sprintf("break lines.cc:%d", l), "-ex", fmt.Sprintf("echo line %d\\n", l), "-ex", "info breakpoints", "-ex", "delete")
	}
	all := map[int][]arch.Addr{}
	at := regexp.MustCompile(`0x[0-9a-f]{16}`)
	var list []arch.Addr
	l := 0
	for text := range strings.Lines(forge.Run(t, "gdb", append(args, path)...)) {
		if n, ok := strings.CutPrefix(text, "line "); ok {
			l, _ = strconv.Atoi(strings.TrimSpace(n))
			list = nil
			continue
		}
		if l == 0 || strings.HasPrefix(text, "Breakpoint ") {
			continue
		}
		if exact && !strings.Contains(text, fmt.Sprintf("lines.cc:%d", l)) {
			continue // moved to another line
		}
		for _, a := range at.FindAllString(text, 1) {
			n, err := strconv.ParseUint(a[2:], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, arch.Addr(n))
			slices.Sort(list)
			all[l] = list
		}
	}
	return all
}

// TestPlaces checks what is told of places: which functions they are in.
func TestPlaces(t *testing.T) {
	path := compile(t, "g++", "lines.cc", "-g", "-O2")
	s := open(t, path)
	for _, c := range []struct {
		file         string
		line         int
		function, in string
	}{
		{"lines.cc", 38, "work", "work"},
		{"testdata/lines.cc", 65, "main", "main"},
	} {
		places, err := s.Line(Files{Typed: c.file}, c.line, 0)
		if err != nil {
			t.Errorf("%s:%d: %v", c.file, c.line, err)
			continue
		}
		for _, p := range places {
			if p.Function != c.function || p.Caller != c.in || filepath.Base(p.File) != "lines.cc" || p.Line != c.line {
				t.Errorf("%s:%d: %+v", c.file, c.line, p)
			}
		}
	}
}

// TestErrors has names of files and lines that are none.
func TestErrors(t *testing.T) {
	s := open(t, compile(t, "g++", "lines.cc", "-g", "-O0"))
	for _, c := range []struct {
		file string
		line int
		want string
	}{
		{"lines.cc", 1, "lines.cc:1 has no code; the next line that has is lines.cc:8"},
		{"lines.cc", 5000, "lines.cc:5000 has no code, nor has a line behind it"},
		{"nowhere.cc", 1, "no source file nowhere.cc"},
		{"xlines.cc", 1, "no source file xlines.cc"},
	} {
		if _, err := s.Line(Files{Typed: c.file}, c.line, 0); err == nil || err.Error() != c.want {
			t.Errorf("%s:%d: %v, want %s", c.file, c.line, err, c.want)
		}
	}
	if _, err := s.Line(Files{Typed: "Lines.C"}, 1, 0); err == nil || !strings.Contains(err.Error(), "did you mean") || !strings.Contains(err.Error(), "testdata/lines.cc") {
		t.Errorf("Lines.C: %v", err)
	}
}

// TestIsOf has names of functions as people write them.
func TestIsOf(t *testing.T) {
	for _, c := range []struct {
		qualified, name string
		want            bool
	}{
		{"work", "work", true}, {"a::work", "work", true}, {"awork", "work", false}, {"a::b::c", "b::c", true}, {"a::b::c", "a::c", false},
		{"std::vector<int, std::allocator<int> >::push_back", "std::vector<int>::push_back", true},
		{"std::vector<int, std::allocator<int> >::push_back", "vector::push_back", true},
		{"std::vector<char, std::allocator<char> >::push_back", "std::vector<int>::push_back", false},
		{"main.(*T).Get", "main.(*T).Get", true}, {"main.(*T).Get", "Get", false},
		{"largest<double>", "largest", true}, {"largest<double>", "largest<double>", true}, {"largest<double>", "largest<int>", false},
	} {
		if got := IsOf(c.qualified, c.name); got != c.want {
			t.Errorf("IsOf(%q, %q) = %v", c.qualified, c.name, got)
		}
	}
}

// TestDamagedTable has a program of which one line table is of a version that there is not: what it
// may have is not said to be nowhere.
func TestDamagedTable(t *testing.T) {
	path := compile(t, "g++", "lines.cc", "-g", "-O0")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	b[f.Section(".debug_line").Offset+4] = 77
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path).Line(Files{Typed: "lines.cc"}, 38, 0); !errors.Is(err, dwarf.ErrFormat) || !strings.Contains(err.Error(), "version 77") {
		t.Error(err)
	}
}
