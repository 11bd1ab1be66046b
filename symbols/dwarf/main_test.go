package dwarf

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols/elffile"
)

func TestMain(m *testing.M) { leak.Main(m) }

// read opens the debug information of a file.
func read(t testing.TB, path string) *Data {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	st, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	o, err := elffile.New(r, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(o, Where{Path: path, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// cache is the folder of the cache that tests use, "" for none.
var cache string

// TestCached reads the whole of a large compressed file without a cache, when it is made, and from
// it: the names are the same.
func TestCached(t *testing.T) {
	path := forge.Compile(t, "testdata", "g++", "shapes.cc", "-g", "-gz=zlib", "-static")
	large := filepath.Join(filepath.Dir(path), "large")
	forge.Run(t, "go", "build", "-ldflags=-compressdwarf=true", "-o", large, "./testdata/goshapes")
	defer func() { cache = "" }()
	for _, path := range []string{path, large} {
		var want []uint64
		dir := filepath.Join(t.TempDir(), "cache")
		for i, c := range []string{"", dir, dir} {
			cache = c
			names, err := read(t, path).Names()
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = names.all
			}
			if !slices.Equal(names.all, want) || len(want) == 0 {
				t.Errorf("%s, reading %d: %d names, not %d", path, i, len(names.all), len(want))
			}
		}
		if entries, err := os.ReadDir(dir); path == large && (err != nil || len(entries) < 2) {
			t.Errorf("the cache has %d entries, %v", len(entries), err)
		}
	}
}

// built is a program with debug information of some form.
type built struct {
	name  string
	make  func(t testing.TB) string // returns the program's path
	split bool                      // debug/dwarf can't read it
}

// compiled is made by one call of a compiler.
func compiled(source, compiler string, args ...string) func(t testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		return forge.Compile(t, "testdata", compiler, append([]string{source}, args...)...)
	}
}

// split is compiled and linked in two steps, so that the units' files stay.
func split(compiler string, packed string, args ...string) func(t testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		dir := t.TempDir()
		object, out := filepath.Join(dir, "shapes.o"), filepath.Join(dir, "shapes")
		source, err := filepath.Abs("testdata/shapes.cc")
		if err != nil {
			t.Fatal(err)
		}
		forge.Run(t, compiler, append([]string{"-c", "-g", "-gsplit-dwarf", "-O2", source, "-o", object}, args...)...)
		forge.Run(t, compiler, object, "-o", out)
		if packed != "" {
			forge.Run(t, packed, "-e", out, "-o", out+".dwp")
			units, err := filepath.Glob(filepath.Join(dir, "*.dwo"))
			if err != nil || len(units) == 0 {
				t.Fatalf("%s made no .dwo file: %v", compiler, err)
			}
			for _, u := range units {
				if err := os.Remove(u); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out
	}
}

// shared is a program of which dwz has moved parts to a file that it shares with another one.
func shared(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var list []string
	for _, level := range []string{"-O0", "-O2"} {
		path := filepath.Join(dir, "shapes"+level)
		if err := os.Rename(compiled("shapes.cc", "g++", "-g", level)(t), path); err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
	}
	forge.Run(t, "dwz", "-m", filepath.Join(dir, "common"), "-M", "common", list[0], list[1])
	return list[1]
}

// builds are programs as compilers of the last years make them.
var builds = []built{
	{name: "gcc-2", make: compiled("shapes.cc", "g++", "-gdwarf-2", "-O2")},
	{name: "gcc-3", make: compiled("shapes.cc", "g++", "-gdwarf-3", "-O2")},
	{name: "gcc-4", make: compiled("shapes.cc", "g++", "-gdwarf-4", "-O2")},
	{name: "gcc-5", make: compiled("shapes.cc", "g++", "-gdwarf-5", "-O2")},
	{name: "gcc-5-O0", make: compiled("shapes.cc", "g++", "-gdwarf-5", "-O0")},
	{name: "gcc-5-64bit", make: compiled("shapes.cc", "g++", "-gdwarf-5", "-gdwarf64", "-O2")},
	{name: "gcc-5-lto", make: compiled("shapes.cc", "g++", "-g", "-flto", "-O2")},
	{name: "gcc-5-zlib", make: compiled("shapes.cc", "g++", "-g", "-gz=zlib", "-O2")},
	{name: "gcc-5-zlib-gnu", make: compiled("shapes.cc", "g++", "-g", "-gz=zlib-gnu", "-O2")},
	{name: "gcc-4-types", make: compiled("shapes.cc", "g++", "-gdwarf-4", "-fdebug-types-section", "-O2")},
	{name: "gcc-5-types", make: compiled("shapes.cc", "g++", "-gdwarf-5", "-fdebug-types-section", "-O2")},
	{name: "clang-4", make: compiled("shapes.cc", "clang++", "-gdwarf-4", "-O2")},
	{name: "clang-5", make: compiled("shapes.cc", "clang++", "-gdwarf-5", "-O2")},
	{name: "clang-5-O0", make: compiled("shapes.cc", "clang++", "-gdwarf-5", "-O0")},
	{name: "clang-5-types", make: compiled("shapes.cc", "clang++", "-gdwarf-5", "-fdebug-types-section", "-O2")},
	{name: "arm64", make: compiled("shapes.cc", "aarch64-linux-gnu-g++", "-g", "-O2", "-mbranch-protection=standard")},
	{name: "rust", make: compiled("shapes.rs", "rustc", "-g", "-O")},
	{name: "rust-packed", make: compiled("shapes.rs", "rustc", "-g", "-Csplit-debuginfo=packed"), split: true},
	{name: "go", make: goBuilt},
	{name: "gcc-4-split", make: split("g++", "", "-gdwarf-4"), split: true},
	{name: "gcc-5-split", make: split("g++", "", "-gdwarf-5"), split: true},
	{name: "gcc-4-packed", make: split("g++", "dwp", "-gdwarf-4"), split: true},
	{name: "gcc-5-packed", make: split("g++", "llvm-dwp", "-gdwarf-5"), split: true},
	{name: "gcc-4-split-types", make: split("g++", "", "-gdwarf-4", "-fdebug-types-section"), split: true},
	{name: "clang-4-split", make: split("clang++", "", "-gdwarf-4"), split: true},
	{name: "clang-5-split", make: split("clang++", "", "-gdwarf-5"), split: true},
	{name: "clang-5-packed", make: split("clang++", "llvm-dwp", "-gdwarf-5"), split: true},
	{name: "clang-5-packed-types", make: split("clang++", "llvm-dwp", "-gdwarf-5", "-fdebug-types-section"), split: true},
	{name: "dwz", make: shared, split: true},
	{name: "clang-5-64bit", make: compiled("shapes.cc", "clang++", "-gdwarf-5", "-gdwarf64", "-O2"), split: true}, // debug/dwarf takes the offsets of strings for 4 bytes
}

func goBuilt(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "goshapes")
	forge.Run(t, "go", "build", "-o", out, "./testdata/goshapes")
	return out
}

// TestBuilds reads programs as compilers make them, in three ways.
func TestBuilds(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			path := b.make(t)
			if !b.split {
				t.Run("truth", func(t *testing.T) { same(t, path) })
			}
			t.Run("whole", func(t *testing.T) { whole(t, path) })
			t.Run("names", func(t *testing.T) { named(t, path) })
		})
	}
}
