package source

import (
	"debug/elf"
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/elffile"
)

func TestMain(m *testing.M) { leak.Main(m) }

// open opens what is known of the source of a program.
func open(t testing.TB, path string) *Source {
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
	d, err := dwarf.New(o, dwarf.Where{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(d, func(a uint64) bool { var b [1]byte; return o.Load(a, b[:], elf.PF_X) })
}

// compile makes a program of a file in testdata.
func compile(t testing.TB, compiler string, args ...string) string {
	t.Helper()
	return forge.Compile(t, "testdata", compiler, args...)
}
