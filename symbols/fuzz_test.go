package symbols

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
)

// small are tiny objects with what the readers look at, kept in testdata.
func small(t testing.TB) (files [][]byte) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.elf"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	return files
}

// poke asks a file everything; it must answer, whatever it is.
func poke(b []byte, name string) {
	f, err := NewFile(bytes.NewReader(b), int64(len(b)), "fuzz")
	if err != nil {
		return
	}
	f.BuildID()
	f.Interp()
	f.IsGo()
	fns, _ := f.Lookup(name)
	all, _ := f.Functions()
	buf := make([]byte, 16)
	for i, fn := range append(fns, all...) {
		if i > 50 {
			break
		}
		f.Text(fn.Addr, buf)
		f.FunctionAt(fn.Addr)
		f.Convention(fn)
		f.Starting(fn.Addr)
		f.ResolverSlots(fn.Addr)
		f.Slots(fn.Names())
		f.Lookup(fn.Name)
		if fn.Size < 1<<16 {
			f.Exits(isaOf(f), fn)
		}
	}
	f.Text(f.Entry(), buf)
	f.Text(^arch.Addr(0)-8, buf)
	f.obj.Bias(procfs.Mapping{Start: 0x1000, End: 0x2000, Offset: 0x1000})
	f.obj.Extent()
}

func FuzzFile(f *testing.F) {
	for _, b := range small(f) {
		f.Add(b, "plain")
		f.Add(b, "a::b<c>(d)")
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if n := allocated(func() { poke(b, name) }); n > 100<<20 {
			t.Errorf("%d MiB of memory for %d bytes", n>>20, len(b))
		}
	})
}

// TestDamaged cuts real objects and overwrites each byte of the small ones.
func TestDamaged(t *testing.T) {
	step := 11
	if runtime.GOARCH == "arm64" {
		step = 307 // an emulated CPU, as in the arm64 lane; the code is the same
	}
	for _, b := range small(t) {
		for n := 0; n < len(b); n += 9 * step {
			poke(b[:n], "plain")
		}
		for i := 0; i < len(b); i += step {
			for _, v := range []byte{0, 0x7f, 0xff} {
				c := bytes.Clone(b)
				c[i] = v
				poke(c, "main")
			}
		}
	}
}

// TestSeeds: what the seeds are there for is seen.
func TestSeeds(t *testing.T) {
	for name, want := range map[string]string{"small.elf": "inner", "mini.elf": "inner", "go.elf": "main.inner"} {
		f := open(t, filepath.Join("testdata", name))
		fns, err := f.Lookup(want)
		if err != nil || len(fns) != 1 || fns[0].Size == 0 {
			t.Errorf("%s in %s: %+v, %v", want, name, fns, err)
		}
	}
}
