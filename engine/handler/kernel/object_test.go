package kernel

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/skip"
)

// object loads an object file; its sources read x86-64 registers.
func object(t *testing.T, name string) *Instance {
	t.Helper()
	available(t)
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "an amd64 CPU")
	}
	f, err := os.Open(filepath.Join("..", "program", "testdata", name+".bpf.o"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	programs, err := program.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return instance(t, programs...)
}

// TestLatencyObject: entry and return share their maps.
func TestLatencyObject(t *testing.T) {
	in := object(t, "latency")
	w := start(t, "threads", "2", "200")
	at := Location{Path: w.path, Offset: w.offset("work")}
	attach(t, in, 0, Options{PID: w.pid}, at)
	at.Return = true
	attach(t, in, 1, Options{PID: w.pid}, at)
	calls, sum := w.run(), uint64(0)
	for bucket, n := range sums(t, in, "buckets") {
		sum += n
		if n > 0 && (bucket < 6 || bucket > 40) {
			t.Errorf("%d calls took 2^%d ns", n, bucket)
		}
	}
	if sum != calls || calls != 400 {
		t.Errorf("%d of %d calls", sum, calls)
	}
	if left := sums(t, in, "starts"); len(left) != 0 {
		t.Errorf("calls that go on: %v", left)
	}
}

// TestRecordObject: constants, variables, and a ring.
func TestRecordObject(t *testing.T) {
	in := object(t, "record")
	w := start(t, "loop", "500")
	attach(t, in, 0, Options{PID: w.pid}, Location{Path: w.path, Offset: w.offset("work")})
	w.run()
	r, err := in.Map("ring").Ring()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		record, err := r.Read(time.Now().Add(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if seq, value := binary.LittleEndian.Uint64(record), binary.LittleEndian.Uint64(record[8:]); seq != 1000+i || value != 490+i {
			t.Errorf("record %d: %d, %d", i, seq, value)
		}
	}
	bss, err := in.Map(".bss").Lookup(u32(0))
	if err != nil || binary.LittleEndian.Uint64(bss[0]) != 490 {
		t.Errorf(".bss: %x, %v", bss, err)
	}
}

// TestLoopObject: the program takes the address of a function.
func TestLoopObject(t *testing.T) {
	in := object(t, "loop")
	w := start(t, "loop", "50")
	attach(t, in, 0, Options{PID: w.pid}, Location{Path: w.path, Offset: w.offset("work")})
	w.run()
	want := uint64(0)
	for n := range uint64(50) {
		want += n * (n - 1) / 2
	}
	bss, err := in.Map(".bss").Lookup(u32(0))
	if err != nil || binary.LittleEndian.Uint64(bss[0]) != want {
		t.Errorf(".bss: %x, %v, want %d", bss, err, want)
	}
}
