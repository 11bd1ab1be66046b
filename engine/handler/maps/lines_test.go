package maps

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// TestLines has values of CPUs, the engine and threads in one map; values that were never written
// take no memory.
func TestLines(t *testing.T) {
	specs := []program.Map{spec(program.PerCPUArray, 4, 8, 4096), spec(program.PerCPUHash, 4, 8, 10), spec(program.PerCPUArray, 4, 8, 1<<16)}
	s, err := New(specs, Options{CPUs: 3, Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := s.Map(0)
	if l := m.Layout(); !l.Lined || l.CPUs != 3 || s.NextLine() != 4 {
		t.Errorf("%+v, the next line is %d", l, s.NextLine())
	}
	for _, i := range []int{1, 2} {
		if l := s.Map(i).Layout(); l.Lined || l.CPUs != 3 {
			t.Errorf("map %d: %+v", i, l)
		}
	}
	sum := func() (sum uint64, lines int) {
		for key, values := range m.All() {
			if key[0] == 7 && key[1] == 0 {
				for _, v := range values {
					sum += word(v)
				}
				lines = len(values)
			}
		}
		return sum, lines
	}
	if n, lines := sum(); n != 0 || lines > 1 {
		t.Errorf("%d in %d lines before anything was written", n, lines)
	}
	before := blocks(t, s.File())
	for _, cpu := range []int{0, 2, Engine, 17, Lines - 1} {
		if err := m.Update(le(7, 4), le(1, 8), Any, cpu); err != nil {
			t.Fatal(err)
		}
	}
	off, _ := m.Lookup(le(7, 4), 17)
	if want := m.valueAt(7, 17); off != want {
		t.Errorf("line 17 is at %d, not %d", off, want)
	}
	if n, lines := sum(); n != 5 || lines != 5 {
		t.Errorf("%d in %d lines", n, lines)
	}
	if n := blocks(t, s.File()) - before; n > 5*64 { // All reads the whole of a line
		t.Errorf("5 lines take %d blocks", n)
	}
	if list := m.InUse(); !slices.Equal(list, []int{0, 2, 3, 17, Lines - 1}) {
		t.Errorf("lines in use: %v", list)
	}
	again, err := Open(dup(t, s.File()))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if list := again.Map(0).InUse(); len(list) != 5 {
		t.Errorf("opened again, lines in use: %v", list)
	}
}

// blocks is how much memory a file takes, in 512 bytes.
func blocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "maps")
}
