package symbols

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// big makes a large library: n functions of long names, and debug information
// that nobody may read.
func big(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	var s strings.Builder
	pad := strings.Repeat("a_long_name_as_templates_make_", 8)
	s.WriteString("\t.text\n")
	for i := range n {
		fmt.Fprintf(&s, "\t.globl %s%d\n\t.type %s%d,@function\n%s%d: ret\n\t.size %s%d,1\n", pad, i, pad, i, pad, i, pad, i)
	}
	fmt.Fprintf(&s, "\t.section .debug_info,\"\",@progbits\n\t.zero %d\n", 100<<20)
	src, out := filepath.Join(dir, "big.s"), filepath.Join(dir, "big.o")
	if err := os.WriteFile(src, []byte(s.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "gcc", "-c", "-o", out, src)
	lib := filepath.Join(dir, "libbig.so")
	run(t, "gcc", "-shared", "-nostdlib", "-o", lib, out)
	for _, name := range []string{src, out} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	return lib
}

// TestLookupIsFast resolves one name in a file of 200 MB: no more is read of
// it than the names and symbols, and none of the whole is kept.
func TestLookupIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a large file")
	}
	path := big(t, 200000)
	st, err := os.Stat(path)
	if err != nil || st.Size() < 200<<20 {
		t.Fatalf("%v bytes, %v", st.Size(), err)
	}
	f := open(t, path)
	name := strings.Repeat("a_long_name_as_templates_make_", 8) + "123456"
	start := time.Now()
	fns, err := f.Lookup(name)
	took := time.Since(start)
	if err != nil || len(fns) != 1 || fns[0].Size != 1 {
		t.Errorf("%+v, %v", fns, err)
	}
	if took > 2*time.Second { // a slow machine; DWARF alone would take longer
		t.Errorf("took %v", took)
	}
	t.Logf("%d MB: %v", st.Size()>>20, took)
}

// BenchmarkLookup is one name in a file nobody has looked at.
func BenchmarkLookup(b *testing.B) {
	paths := map[string][2]string{
		"go":  {tool(b, "go"), "main.main"},
		"big": {big(b, 200000), strings.Repeat("a_long_name_as_templates_make_", 8) + "123456"},
	}
	for name, c := range paths {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(c[0])
				if err != nil {
					b.Fatal(err)
				}
				if fns, err := f.Lookup(c[1]); err != nil || len(fns) != 1 {
					b.Fatal(fns, err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkFunctions is the whole table.
func BenchmarkFunctions(b *testing.B) {
	path := tool(b, "go")
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if fns, err := f.Functions(); err != nil || len(fns) == 0 {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkExits finds the exits of one function.
func BenchmarkExits(b *testing.B) {
	f := open(b, tool(b, "go"))
	fns, err := f.Lookup("main.main")
	if err != nil || len(fns) != 1 {
		b.Fatal(fns, err)
	}
	for b.Loop() {
		if _, err := f.Exits(isaOf(f), fns[0]); err != nil {
			b.Fatal(err)
		}
	}
}
