package maps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

func newSet(t testing.TB, cpus int, specs ...program.Map) *Set {
	t.Helper()
	s, err := New(specs, Options{CPUs: cpus})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func spec(kind program.MapType, key, value, entries uint32) program.Map {
	return program.Map{Name: kind.String(), Type: kind, KeySize: key, ValueSize: value, MaxEntries: entries}
}

func le(n uint64, size int) []byte { return binary.LittleEndian.AppendUint64(nil, n)[:size] }

// contents are all entries of a map, as text.
func contents(t testing.TB, m *Map) map[string]string {
	t.Helper()
	out := map[string]string{}
	for key, values := range m.All() {
		if _, twice := out[string(key)]; twice {
			t.Fatalf("key %x comes twice", key)
		}
		out[string(key)] = string(bytes.Join(values, []byte("|")))
	}
	return out
}

// TestModel holds each kind of map against Go's own, by random operations.
func TestModel(t *testing.T) {
	for _, kind := range []program.MapType{program.Hash, program.PerCPUHash, program.Array, program.PerCPUArray} {
		for _, sizes := range [][2]uint32{{4, 8}, {4, 3}, {8, 20}, {13, 1}, {16, 64}} {
			if kind == program.Array || kind == program.PerCPUArray {
				sizes[0] = 4
			}
			t.Run(fmt.Sprintf("%v/%d-%d", kind, sizes[0], sizes[1]), func(t *testing.T) {
				model(t, spec(kind, sizes[0], sizes[1], 30))
			})
		}
	}
}

func model(t *testing.T, sp program.Map) {
	cpus := 1
	if sp.Type.PerCPU() {
		cpus = 3
	}
	s := newSet(t, cpus, spec(program.Array, 4, 8, 7), sp)
	m := s.Map(1)
	isArray := sp.Type == program.Array || sp.Type == program.PerCPUArray
	want := map[string][][]byte{}
	zero := func() (v [][]byte) {
		for range cpus {
			v = append(v, make([]byte, sp.ValueSize))
		}
		return v
	}
	if isArray {
		for i := range sp.MaxEntries {
			want[string(le(uint64(i), 4))] = zero()
		}
	}
	rnd := rand.New(rand.NewPCG(1, uint64(sp.KeySize)))
	for range 20_000 {
		key := append(le(rnd.Uint64N(70), min(int(sp.KeySize), 8)), make([]byte, max(0, int(sp.KeySize)-8))...)
		value := make([]byte, sp.ValueSize)
		for i := range value {
			value[i] = byte(rnd.Uint32())
		}
		cpu, flags := rnd.IntN(cpus), rnd.Uint64N(3)
		old, there := want[string(key)]
		switch rnd.IntN(3) {
		case 0:
			var expect error
			switch {
			case isArray && !there, !there && flags != Exist && len(want) == int(sp.MaxEntries):
				expect = ErrFull
			case there && flags == NoExist:
				expect = ErrExists
			case !there && flags == Exist:
				expect = ErrNotFound
			}
			if err := m.Update(key, value, flags, cpu); !errors.Is(err, expect) || (err == nil) != (expect == nil) {
				t.Fatalf("update %x, flags %d: %v, should be %v", key, flags, err, expect)
			} else if err == nil {
				if !there {
					old = zero()
				}
				old[cpu] = value
				want[string(key)] = old
			}
		case 1:
			err := m.Delete(key)
			if isArray != errors.Is(err, ErrInvalid) || !isArray && there != (err == nil) {
				t.Fatalf("delete %x, there %v: %v", key, there, err)
			}
			if err == nil {
				delete(want, string(key))
			}
		case 2:
			off, ok := m.Lookup(key, cpu)
			if ok != there || ok && !bytes.Equal(s.Bytes()[off:off+int(sp.ValueSize)], old[cpu]) {
				t.Fatalf("lookup %x: %v, there %v", key, ok, there)
			}
		}
	}
	text := map[string]string{}
	for k, v := range want {
		text[k] = string(bytes.Join(v, []byte("|")))
	}
	if got := contents(t, m); !maps.Equal(got, text) {
		t.Fatalf("there are\n%q\nshould be\n%q", got, text)
	}
	if m.Refused() == 0 {
		t.Error("nothing was counted as refused")
	}
	if used := ring.Word(s.Bytes(), m.Offset()+OffUsed).Load(); !isArray && used != uint64(len(want)) {
		t.Errorf("%d entries in use of %d", used, len(want))
	}
}

// TestConcurrent has several threads work on the same few keys. A value says
// which key it is for, so a wrong entry would show; and what remains is what the
// operations add up to.
func TestConcurrent(t *testing.T) {
	for _, kind := range []program.MapType{program.Hash, program.LRUHash, program.PerCPUHash} {
		t.Run(kind.String(), func(t *testing.T) {
			const threads, rounds, keys = 8, 20_000, 40
			s := newSet(t, threads, spec(kind, 8, 24, 30))
			m := s.Map(0)
			var balance [keys]int64
			var mu sync.Mutex
			var wg sync.WaitGroup
			for g := range threads {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(g), 3))
					var mine [keys]int64
					for range rounds {
						k := rnd.Uint64N(keys)
						key, value := le(k, 8), bytes.Repeat(le(k<<32|uint64(g), 8), 3)
						switch rnd.IntN(4) {
						case 0:
							if m.Update(key, value, NoExist, g) == nil {
								mine[k]++
							}
						case 1:
							if m.Delete(key) == nil {
								mine[k]--
							}
						case 2:
							_ = m.Update(key, value, Exist, g)
						default:
							m.Lookup(key, g)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					for k := range mine {
						balance[k] += mine[k]
					}
				})
			}
			stop := make(chan struct{})
			var reader sync.WaitGroup
			reader.Go(func() {
				for {
					check(t, m)
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			wg.Wait()
			close(stop)
			reader.Wait()
			there := check(t, m)
			for k := range keys {
				if kind != program.LRUHash && balance[k] != there[uint64(k)] {
					t.Errorf("key %d: %d times put in more than taken out, %d there", k, balance[k], there[uint64(k)])
				}
			}
			used := int(ring.Word(s.Bytes(), m.Offset()+OffUsed).Load())
			free := 0
			h := m.table.(*hash)
			for i := range h.entries {
				if h.link(i).Load()&LinkIndex == LinkUnused {
					free++
				}
			}
			if used != len(there) || free != h.entries-used {
				t.Errorf("%d entries, %d counted, %d of %d free", len(there), used, free, h.entries)
			}
		})
	}
}

// check sees to it that all values are their keys' own.
func check(t *testing.T, m *Map) map[uint64]int64 {
	there := map[uint64]int64{}
	for key, values := range m.All() {
		k := word(key)
		there[k]++
		for _, v := range values {
			for ; len(v) > 0; v = v[8:] {
				if w := word(v); w>>32 != k && w != 0 {
					t.Errorf("key %d has value %x", k, w)
				}
			}
		}
	}
	return there
}

// TestLRU: what is looked up stays, what is not goes; it is never full.
func TestLRU(t *testing.T) {
	s := newSet(t, 1, spec(program.LRUHash, 8, 8, 100))
	m := s.Map(0)
	for i := range uint64(10_000) {
		if err := m.Update(le(i, 8), le(i, 8), 0, 0); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		for hot := range min(i+1, 20) {
			if _, ok := m.Lookup(le(hot, 8), 0); !ok {
				t.Fatalf("%d: %d is gone, though it was just looked up", i, hot)
			}
		}
	}
	if n := len(contents(t, m)); n != 100 {
		t.Errorf("%d entries of 100", n)
	}
}

func TestStacks(t *testing.T) {
	s := newSet(t, 1, spec(program.StackTrace, 4, 80, 100))
	m := s.Map(0)
	stack := func(i uint64) []uint64 { return []uint64{i, i * 3, 7}[:1+i%3] }
	ids := map[int64]uint64{}
	for i := uint64(1); i <= 60; i++ {
		id := m.Put(stack(i), 0)
		if id < 0 {
			continue
		}
		if old, twice := ids[id]; twice {
			t.Fatalf("%d and %d are both number %d", old, i, id)
		}
		ids[id] = i
	}
	if int(m.Refused()) != 60-len(ids) || len(ids) < 50 {
		t.Errorf("%d of 60 kept, %d refused", len(ids), m.Refused())
	}
	for id, i := range ids {
		if again := m.Put(stack(i), 0); again != id {
			t.Errorf("stack %d is %d, then %d", i, id, again)
		}
	}
	n := 0
	for key, values := range m.All() {
		i := ids[int64(binary.LittleEndian.Uint32(key))]
		want := make([]byte, 0, 80)
		for _, a := range stack(i) {
			want = append(want, le(a, 8)...)
		}
		if !bytes.Equal(values[0], append(want, make([]byte, 80-len(want))...)) {
			t.Errorf("stack %d: %x", i, values[0])
		}
		n++
	}
	if n != len(ids) {
		t.Errorf("%d stacks of %d", n, len(ids))
	}
	long := slices.Repeat([]uint64{9}, 50)
	if id := m.Put(long, 0); id < 0 || m.Put(long[:10], 0) != id {
		t.Error("a long stack is not its first part")
	}
	full := newSet(t, 1, spec(program.StackTrace, 4, 8, 8)).Map(0)
	for i := range uint64(8) {
		if full.Put([]uint64{i + 1}, 0) < 0 {
			t.Fatal("no room")
		}
	}
	if id := full.Put([]uint64{99}, 0); id != -int64(ErrExists) {
		t.Errorf("a full map gives %d", id)
	}
	if id := full.Put([]uint64{99}, ReuseStackID); id < 0 || full.Put([]uint64{99}, 0) != id {
		t.Errorf("room is not used again: %d", id)
	}
	if full.Put(nil, 0) != -int64(ErrInvalid) {
		t.Error("a stack of nothing")
	}
}

// TestOpen reads in one place what was written in another.
func TestOpen(t *testing.T) {
	kinds := []program.Map{
		spec(program.Hash, 8, 8, 10), spec(program.PerCPUArray, 4, 16, 3), spec(program.StackTrace, 4, 80, 8),
		{Name: "ring", Type: program.RingBuf, MaxEntries: 4096}, {Name: "perf", Type: program.PerfEvents, KeySize: 4, ValueSize: 4},
		{Name: "const", Type: program.Array, KeySize: 4, ValueSize: 5, MaxEntries: 1, ReadOnly: true,
			Contents: []program.KV{{Key: make([]byte, 4), Value: []byte("hello")}}},
	}
	s := newSet(t, 4, kinds...)
	if err := s.ByName("hash").Update(le(5, 8), le(6, 8), 0, 0); err != nil {
		t.Fatal(err)
	}
	s.ByName("ring").Ring().Output([]byte("record"), 1)
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", s.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	o, err := Open(reopened(t, file, s))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for i, want := range kinds {
		got := o.Map(i).Spec()
		want.Contents = nil
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v is %v", want, got)
		}
	}
	if got := contents(t, o.ByName("hash")); got[string(le(5, 8))] != string(le(6, 8)) {
		t.Errorf("%q", got)
	}
	if got := contents(t, o.ByName("const")); got[string(make([]byte, 4))] != "hello" {
		t.Errorf("%q", got)
	}
	rd := ring.NewReader(o.ByName("ring").Ring(), nil)
	if rec, _ := rd.Next(); string(rec) != "record" {
		t.Errorf("%q", rec)
	}
	if o.CPUs() != 4 || o.ByName("nothing") != nil {
		t.Error("CPUs, or a map that is not there")
	}
	for range s.Entries("nothing") {
		t.Error("entries of nothing")
	}
}

// reopened keeps the seals in sight: a file of /proc is the same memory.
func reopened(t *testing.T, readOnly *os.File, s *Set) *os.File {
	t.Helper()
	readOnly.Close()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.File().Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTooLarge(t *testing.T) {
	for _, specs := range [][]program.Map{
		{spec(program.Hash, 8, 1<<20, 1<<20)},
		{spec(program.PerCPUArray, 4, 1<<28, 1<<31)},
		{spec(program.Array, 4, 1<<20, 600), spec(program.Array, 4, 1<<20, 600)},
		slices.Repeat([]program.Map{spec(program.Array, 4, 8, 1)}, 65),
	} {
		if s, err := New(specs, Options{CPUs: 64}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", specs[0], err)
			s.Close()
		}
		if err := Fit(specs, Options{CPUs: 64}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v fits: %v", specs[0], err)
		}
	}
}

// TestSpoiled has another process write anywhere: nothing crashes, nothing
// hangs, and no set that is wrong is opened.
func TestSpoiled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 9))
	for range 150 {
		s := newSet(t, 2, spec(program.Hash, 8, 8, 8), spec(program.LRUHash, 8, 8, 8), spec(program.PerCPUHash, 8, 8, 8),
			spec(program.StackTrace, 4, 80, 4))
		b := s.Bytes()
		for range 40 {
			ring.Word(b, rnd.IntN(len(b)/8)*8).Store([]uint64{rnd.Uint64(), rnd.Uint64N(80), 0, LinkEnd, LinkUnused, LinkDead | rnd.Uint64N(9)}[rnd.IntN(6)])
			for i := range 3 {
				key := le(rnd.Uint64N(12), 8)
				_ = s.Map(i).Update(key, key, rnd.Uint64N(3), 0)
				_ = s.Map(i).Delete(le(rnd.Uint64N(12), 8))
				if off, ok := s.Map(i).Lookup(key, 1); ok && (off < 0 || off+8 > len(b)) {
					t.Fatalf("value at %#x", off)
				}
			}
			s.Map(3).Put([]uint64{rnd.Uint64N(9)}, rnd.Uint64N(2)*ReuseStackID)
		}
		for i := range 4 {
			for range s.Map(i).All() {
			}
		}
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.File().Fd()), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			ring.Word(b, rnd.IntN(setSize/8+4*HeaderSize/8)*8).Store(rnd.Uint64() >> rnd.UintN(64))
		}
		if o, err := Open(f); err == nil {
			o.Close()
		} else {
			f.Close()
		}
	}
}

// FuzzOpen opens regions with random first words.
func FuzzOpen(f *testing.F) {
	s := newSet(f, 2, spec(program.Hash, 8, 8, 8), spec(program.PerCPUArray, 4, 8, 2))
	f.Add(s.Bytes()[:setSize+2*HeaderSize])
	f.Fuzz(func(t *testing.T, start []byte) {
		region, err := ring.Create("fuzz", 1<<14)
		if err != nil {
			t.Fatal(err)
		}
		copy(region.Bytes(), start)
		ring.Word(region.Bytes(), offSize).Store(1 << 14)
		o, err := open(region)
		if err != nil {
			region.Close()
			return
		}
		defer o.Close()
		for i := range o.Len() {
			m := o.Map(i)
			key, value := make([]byte, m.Spec().KeySize), make([]byte, m.Spec().ValueSize)
			_ = m.Update(key, value, 0, 1)
			m.Lookup(key, 1)
			for range m.All() {
				break
			}
		}
	})
}

// TestAllocations: none but for reading a whole map.
func TestAllocations(t *testing.T) {
	s := newSet(t, 2, spec(program.Hash, 8, 8, 64), spec(program.LRUHash, 8, 8, 8), spec(program.PerCPUArray, 4, 8, 8))
	key, other := le(3, 8), le(4, 8)
	i := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		for k := range 2 {
			_ = s.Map(k).Update(key, key, 0, 0)
			s.Map(k).Lookup(key, 0)
			_ = s.Map(k).Delete(other)
		}
		i++
		putWord(other, i)
		_ = s.Map(1).Update(other, key, 0, 0)
		s.Map(2).Lookup(key[:4], 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkArray(b *testing.B) {
	m := newSet(b, 2, spec(program.PerCPUArray, 4, 8, 64)).Map(0)
	key, value := make([]byte, 4), make([]byte, 8)
	b.Run("lookup", func(b *testing.B) {
		for b.Loop() {
			m.Lookup(key, 1)
		}
	})
	b.Run("update", func(b *testing.B) {
		for b.Loop() {
			_ = m.Update(key, value, 0, 1)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	s := newSet(b, 1, spec(program.Hash, 8, 8, 10_000))
	m := s.Map(0)
	key := make([]byte, 8)
	for i := range uint64(10_000) {
		putWord(key, i)
		_ = m.Update(key, key, 0, 0)
	}
	b.Run("lookup", func(b *testing.B) {
		for i := range b.N {
			putWord(key, uint64(i)%10_000)
			m.Lookup(key, 0)
		}
	})
	b.Run("update", func(b *testing.B) {
		for i := range b.N {
			putWord(key, uint64(i)%10_000)
			_ = m.Update(key, key, 0, 0)
		}
	})
	b.Run("delete+insert", func(b *testing.B) {
		for i := range b.N {
			putWord(key, uint64(i)%10_000)
			_ = m.Delete(key)
			_ = m.Update(key, key, 0, 0)
		}
	})
}
