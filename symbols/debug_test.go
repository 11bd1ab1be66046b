package symbols

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// names of names.c that only a full symbol table has.
func hasStatic(t *testing.T, path string) bool {
	t.Helper()
	alone, err := open(t, path).Lookup("helper")
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	all, err := f.Functions()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d functions, %v", len(all), err)
	}
	table, err := f.Lookup("helper")
	if err != nil || len(alone) != len(table) {
		t.Errorf("helper: %+v, from the whole table %+v, %v", alone, table, err)
	}
	if fns, err := f.Lookup("plain"); err != nil || len(fns) != 1 {
		t.Errorf("plain: %+v, %v", fns, err)
	}
	return len(alone) == 2
}

// separate splits a program: its debug file, and itself stripped.
func separate(t *testing.T, flags ...string) (path, debug string) {
	path = compile(t, "gcc", append([]string{"-g", "-O2", "-shared", "-fPIC", "names.c", "other.c"}, flags...)...)
	debug = filepath.Join(filepath.Dir(path), "prog.debug")
	forge.Run(t, "objcopy", "--only-keep-debug", path, debug)
	forge.Run(t, "strip", path)
	if hasStatic(t, path) {
		t.Fatal("strip left static functions")
	}
	return path, debug
}

func TestDebugLink(t *testing.T) {
	path, debug := separate(t, "-Wl,--build-id=none")
	forge.Run(t, "objcopy", "--add-gnu-debuglink="+debug, path)
	if !hasStatic(t, path) {
		t.Error("debug file beside the program is not found")
	}
	sub := filepath.Join(filepath.Dir(path), ".debug")
	if err := errors.Join(os.Mkdir(sub, 0o755), os.Rename(debug, filepath.Join(sub, "prog.debug"))); err != nil {
		t.Fatal(err)
	}
	if !hasStatic(t, path) {
		t.Error("debug file in .debug is not found")
	}
	// A wrong checksum.
	b, err := os.ReadFile(filepath.Join(sub, "prog.debug"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub, "prog.debug"), append(b, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if hasStatic(t, path) {
		t.Error("a debug file with the wrong checksum is believed")
	}
}

func TestMiniDebugInfo(t *testing.T) {
	for _, flags := range []string{"-6", "--block-size=512", "--check=crc32", "--check=none", "--check=sha256", "-e"} {
		path, debug := separate(t)
		forge.Run(t, "objcopy", "-S", "--remove-section", ".comment", "--keep-symbol=helper", "--keep-symbol=fast", debug, debug)
		forge.Run(t, "xz", "-k", flags, debug)
		forge.Run(t, "objcopy", "--add-section", ".gnu_debugdata="+debug+".xz", path)
		if !hasStatic(t, path) {
			t.Errorf("xz %s: no functions from .gnu_debugdata", flags)
		}
		f := open(t, path)
		if fns, err := f.Lookup("slow"); err != nil || len(fns) != 0 {
			t.Errorf("slow, which was taken out: %+v, %v", fns, err)
		}
	}
}

// allocated is how much memory f takes, be it given back meanwhile or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBomb: what is packed in a few kilobytes takes no more than some times that, and the
// library's own names are there.
func TestBomb(t *testing.T) {
	path, debug := separate(t)
	if err := os.Truncate(debug, 128<<20); err != nil {
		t.Fatal(err)
	}
	forge.Run(t, "xz", "-0", debug)
	forge.Run(t, "objcopy", "--add-section", ".gnu_debugdata="+debug+".xz", path)
	f := open(t, path)
	n := allocated(func() {
		if fns, err := f.Lookup("plain"); err != nil || len(fns) != 1 {
			t.Errorf("plain: %+v, %v", fns, err)
		}
	})
	if n > 16<<20 {
		t.Errorf("%d bytes of memory", n)
	}
}

// TestKept: a debug file for which there is no memory is none.
func TestKept(t *testing.T) {
	path, debug := separate(t, "-Wl,--build-id=none")
	forge.Run(t, "objcopy", "--add-gnu-debuglink="+debug, path)
	f := open(t, path)
	if err := f.obj.Budget.Keep(elffile.MaxKept); err != nil {
		t.Fatal(err)
	}
	if fns, err := f.Lookup("helper"); err != nil || len(fns) != 0 {
		t.Errorf("helper, for which there is no memory: %+v, %v", fns, err)
	}
}
