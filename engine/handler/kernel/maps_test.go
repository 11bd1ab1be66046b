package kernel

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// TestEntries: what is put into maps comes out, of each type.
func TestEntries(t *testing.T) {
	available(t)
	for _, m := range []program.Map{
		{Name: "m", Type: program.Hash, KeySize: 4, ValueSize: 12, MaxEntries: 100},
		{Name: "m", Type: program.LRUHash, KeySize: 4, ValueSize: 12, MaxEntries: 1000},
		{Name: "m", Type: program.PerCPUHash, KeySize: 4, ValueSize: 12, MaxEntries: 100},
		{Name: "m", Type: program.Array, KeySize: 4, ValueSize: 12, MaxEntries: 60},
		{Name: "m", Type: program.PerCPUArray, KeySize: 4, ValueSize: 12, MaxEntries: 60},
	} {
		t.Run(m.Type.String(), func(t *testing.T) {
			for i := range uint32(50) {
				m.Contents = append(m.Contents, program.KV{Key: u32(i), Value: value(i)})
			}
			in := instance(t, assemble(t, "none", []program.Map{m}, asm.Mov.Imm(asm.R0, 0), asm.Return()))
			k := in.Map("m")
			checkEntries(t, in, m)
			for i := range uint32(50) {
				if err := k.Update(u32(i), value(i), 0); err != nil {
					t.Fatal(err)
				}
			}
			checkEntries(t, in, m)
			if err := k.Update(u32(1), []byte{1}, 0); err == nil {
				t.Error("a short value: no error")
			}
			if m.Type == program.Hash {
				if err := k.Delete(u32(7)); err != nil {
					t.Error(err)
				}
				if _, err := k.Lookup(u32(7)); !errors.Is(err, ebpf.ErrKeyNotExist) {
					t.Errorf("lookup of what is not there: %v", err)
				}
			}
		})
	}
}

// checkEntries: all 50, each once, on each CPU; an array has zeros behind them.
func checkEntries(t *testing.T, in *Instance, m program.Map) {
	t.Helper()
	seen := map[uint32]bool{}
	cpus := 1
	if m.Type.PerCPU() {
		cpus = ebpf.MustPossibleCPU()
	}
	for key, values := range in.Entries("m") {
		k := binary.LittleEndian.Uint32(key)
		if seen[k] || len(values) != cpus {
			t.Errorf("key %d: seen %v, %d values", k, seen[k], len(values))
		}
		seen[k] = true
		for _, v := range values {
			want := value(k)
			if k >= 50 {
				want = make([]byte, 12)
			}
			if string(v) != string(want) {
				t.Errorf("key %d: %x instead of %x", k, v, want)
			}
		}
	}
	want := 50
	if m.Type == program.Array || m.Type == program.PerCPUArray {
		want = 60
	}
	if err := in.Map("m").Err(); err != nil || len(seen) != want {
		t.Errorf("%d entries, %v", len(seen), err)
	}
}

func u32(i uint32) []byte { return binary.LittleEndian.AppendUint32(nil, i) }

func value(i uint32) []byte {
	return append(u32(i*7), 1, 2, 3, 4, 5, 6, 7, byte(i))
}

// TestEntriesWhileDeleted: a reader that deletes what it reads sees each entry once.
func TestEntriesWhileDeleted(t *testing.T) {
	available(t)
	m := program.Map{Name: "m", Type: program.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 2000}
	for i := range uint32(2000) {
		m.Contents = append(m.Contents, program.KV{Key: u32(i), Value: u32(i)})
	}
	in := instance(t, assemble(t, "none", []program.Map{m}, asm.Mov.Imm(asm.R0, 0), asm.Return()))
	k := in.Map("m")
	seen := map[uint32]bool{}
	for key := range k.All() {
		n := binary.LittleEndian.Uint32(key)
		if seen[n] {
			t.Fatalf("%d twice", n)
		}
		seen[n] = true
		if n%20 == 0 {
			if err := k.Delete(key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.Err(); err != nil || len(seen) != 2000 {
		t.Errorf("%d entries, %v", len(seen), err)
	}
}

// TestUnknownMap has no entries.
func TestUnknownMap(t *testing.T) {
	available(t)
	in := instance(t, count(t))
	for range in.Entries("none") {
		t.Error("an entry")
	}
	if in.Map("none") != nil {
		t.Error("a map")
	}
}

// TestReadOnly: constants are the program's to read, and frozen.
func TestReadOnly(t *testing.T) {
	available(t)
	m := program.Map{Name: ".rodata", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, ReadOnly: true,
		Contents: []program.KV{{Key: u32(0), Value: []byte("constant")}}}
	in := instance(t, assemble(t, "none", []program.Map{m}, asm.Mov.Imm(asm.R0, 0), asm.Return()))
	if err := in.Map(".rodata").Update(u32(0), []byte("variable"), 0); err == nil {
		t.Error("no error")
	}
}
