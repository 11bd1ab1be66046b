package maps

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// TestSlots has values of CPUs, the engine and threads in one map; values that were never written
// take no memory.
func TestSlots(t *testing.T) {
	specs := []program.Map{spec(program.PerCPUArray, 4, 8, 4096), spec(program.PerCPUHash, 4, 8, 10), spec(program.PerCPUArray, 4, 8, 1<<16)}
	s, err := New(specs, Options{CPUs: 3, Slots: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := s.Map(0)
	if l := m.Layout(); !l.Slotted || l.CPUs != 3 || s.NextSlot() != 4 {
		t.Errorf("%+v, the next slot is %d", l, s.NextSlot())
	}
	for _, i := range []int{1, 2} {
		if l := s.Map(i).Layout(); l.Slotted || l.CPUs != 3 {
			t.Errorf("map %d: %+v", i, l)
		}
	}
	sum := func() (sum uint64, slots int) {
		for key, values := range m.All() {
			if key[0] == 7 && key[1] == 0 {
				for _, v := range values {
					sum += word(v)
				}
				slots = len(values)
			}
		}
		return sum, slots
	}
	if n, slots := sum(); n != 0 || slots > 1 {
		t.Errorf("%d in %d slots before anything was written", n, slots)
	}
	before := blocks(t, s.File())
	for _, cpu := range []int{0, 2, Engine, 17, Slots - 1} {
		if err := m.Update(le(7, 4), le(1, 8), Any, cpu); err != nil {
			t.Fatal(err)
		}
	}
	off, _ := m.Lookup(le(7, 4), 17)
	if want := m.valueAt(7, 17); off != want {
		t.Errorf("slot 17 is at %d, not %d", off, want)
	}
	if n, slots := sum(); n != 5 || slots != 5 {
		t.Errorf("%d in %d slots", n, slots)
	}
	if n := blocks(t, s.File()) - before; n > 5*64 { // All reads the whole of a slot
		t.Errorf("5 slots take %d blocks", n)
	}
	if list := m.InUse(); !slices.Equal(list, []int{0, 2, 3, 17, Slots - 1}) {
		t.Errorf("slots in use: %v", list)
	}
	again, err := Open(dup(t, s.File()))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if list := again.Map(0).InUse(); len(list) != 5 {
		t.Errorf("opened again, slots in use: %v", list)
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
