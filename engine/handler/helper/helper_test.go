package helper_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/native"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) { leak.Main(m) }

// Offsets in a Machine's data.
const (
	threadsAt = 3 << 20
	argsAt    = 64 << 10
	stackAt   = 1 << 20
)

// rig is helpers for a set of maps, in the test's memory.
type rig struct {
	t   testing.TB
	m   *native.Machine
	set *maps.Set
	env helper.Env
	lib *helper.Library
}

func newRig(t testing.TB, specs []program.Map, need ...compile.Helper) *rig {
	t.Helper()
	set, err := maps.New(specs, maps.Options{CPUs: runtime.NumCPU()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return rigFor(t, set, need...)
}

// rigFor makes another Machine on the same maps.
func rigFor(t testing.TB, set *maps.Set, need ...compile.Helper) *rig {
	t.Helper()
	m, err := native.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	_, data := m.Data()
	env := helper.Env{Context: ctx, Set: set, Region: arch.Addr(uintptr(unsafe.Pointer(&set.Bytes()[0]))),
		Threads: data + threadsAt, Features: handler.Features()}
	env.Lost = env.Region + maps.OffLost
	if handler.Slotted(ctx) {
		env.Slots = env.Region
	}
	lib, err := env.Make(need, m.Base())
	if err == nil {
		err = m.Load(lib.Code)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, m, set, env, lib}
}

// call calls a helper, and checks the registers that helpers keep.
func (r *rig) call(num int32, m int, args ...uint64) uint64 {
	r.t.Helper()
	at, ok := r.lib.At[compile.Helper{Num: num, Map: m}]
	if !ok {
		r.t.Fatalf("no helper %d of map %d", num, m)
	}
	result, err := r.m.Call(at, stackAt, args)
	if err != nil {
		r.t.Fatalf("helper %d: %v", num, err)
	}
	return result
}

// put writes bytes for a helper to read, and returns their address.
func (r *rig) put(i int, b []byte) uint64 {
	data, at := r.m.Data()
	copy(data[argsAt+4096*i:], b)
	return uint64(at) + argsAt + 4096*uint64(i)
}

func (r *rig) got(i, n int) []byte {
	data, _ := r.m.Data()
	return bytes.Clone(data[argsAt+4096*i:][:n])
}

func (r *rig) region() uint64 { return uint64(uintptr(unsafe.Pointer(&r.set.Bytes()[0]))) }

// shapes are maps with keys and values of many sizes.
var shapes = []program.Map{
	{Name: "hash8", Type: program.Hash, KeySize: 8, ValueSize: 16, MaxEntries: 20},
	{Name: "hash4", Type: program.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 20},
	{Name: "hash1", Type: program.Hash, KeySize: 1, ValueSize: 1, MaxEntries: 20},
	{Name: "hash7", Type: program.Hash, KeySize: 7, ValueSize: 7, MaxEntries: 10},
	{Name: "hash16", Type: program.Hash, KeySize: 16, ValueSize: 100, MaxEntries: 10},
	{Name: "hash23", Type: program.Hash, KeySize: 23, ValueSize: 500, MaxEntries: 10},
	{Name: "lru8", Type: program.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: 8},
	{Name: "lru20", Type: program.LRUHash, KeySize: 20, ValueSize: 12, MaxEntries: 8},
	{Name: "cpus8", Type: program.PerCPUHash, KeySize: 8, ValueSize: 24, MaxEntries: 10},
	{Name: "cpus12", Type: program.PerCPUHash, KeySize: 12, ValueSize: 5, MaxEntries: 10},
	{Name: "array", Type: program.Array, KeySize: 4, ValueSize: 20, MaxEntries: 6},
	{Name: "cpus", Type: program.PerCPUArray, KeySize: 4, ValueSize: 70, MaxEntries: 6},
}

// onOneCPU keeps the test's thread on its CPU until the test's end.
func onOneCPU(t *testing.T) (cpu int) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	var old, one [16]uint64
	const set, get = syscall.SYS_SCHED_SETAFFINITY, syscall.SYS_SCHED_GETAFFINITY
	if _, _, e := syscall.RawSyscall(get, 0, unsafe.Sizeof(old), uintptr(unsafe.Pointer(&old))); e != 0 {
		t.Fatal(e)
	}
	for cpu = 0; old[cpu/64]>>(cpu%64)&1 == 0; cpu++ {
	}
	one[cpu/64] = 1 << (cpu % 64)
	if _, _, e := syscall.RawSyscall(set, 0, unsafe.Sizeof(one), uintptr(unsafe.Pointer(&one))); e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(func() { syscall.RawSyscall(set, 0, unsafe.Sizeof(old), uintptr(unsafe.Pointer(&old))) })
	return cpu
}

// TestMaps does the same random operations on two sets of maps, with machine code and with package
// maps: the results are the same, and so are the contents at the end.
func TestMaps(t *testing.T) {
	cpu := onOneCPU(t)
	var need []compile.Helper
	for i, m := range shapes {
		for _, n := range []int32{program.FnMapLookup, program.FnMapUpdate, program.FnMapDelete} {
			if n != program.FnMapLookup || m.Type != program.Array && m.Type != program.PerCPUArray {
				need = append(need, compile.Helper{Num: n, Map: i})
			}
		}
	}
	r := newRig(t, shapes, append(need, none(program.FnCurrentPIDTGID))...)
	if runtime.GOARCH == "arm64" { // no instruction tells the CPU
		cpu = slot(r)
	}
	own, err := maps.New(shapes, maps.Options{CPUs: runtime.NumCPU()})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 60000 {
		i := rnd.IntN(len(shapes))
		spec, m := shapes[i], own.Map(i)
		key, value := make([]byte, spec.KeySize), make([]byte, spec.ValueSize)
		key[rnd.IntN(len(key))] = byte(rnd.IntN(12))
		if spec.KeySize == 4 && spec.Type != program.Hash {
			binary.LittleEndian.PutUint32(key, rnd.Uint32N(8))
		}
		for k := range value {
			value[k] = byte(rnd.Uint32())
		}
		at := []uint64{r.region() + uint64(m.Offset()), r.put(0, key), r.put(1, value), uint64(rnd.IntN(4))}
		switch rnd.IntN(3) {
		case 0:
			want := errno(m.Update(key, value, at[3], cpu))
			if got := int64(r.call(program.FnMapUpdate, i, at...)); got != want {
				t.Fatalf("%d: %s: update %x, flags %d: %d, not %d", n, spec.Name, key, at[3], got, want)
			}
		case 1:
			want := errno(m.Delete(key))
			if got := int64(r.call(program.FnMapDelete, i, at[:2]...)); got != want {
				t.Fatalf("%d: %s: delete %x: %d, not %d", n, spec.Name, key, got, want)
			}
		default:
			if !slices.Contains(need, compile.Helper{Num: program.FnMapLookup, Map: i}) {
				continue
			}
			off, ok := m.Lookup(key, cpu)
			got := r.call(program.FnMapLookup, i, at[:2]...)
			if ok != (got != 0) {
				t.Fatalf("%d: %s: lookup %x: %#x, not %v", n, spec.Name, key, got, ok)
			}
			if ok && !bytes.Equal(own.Bytes()[off:][:len(value)], native.Bytes(got, len(value))) {
				t.Fatalf("%d: %s: %x has another value", n, spec.Name, key)
			}
		}
	}
	for i := range shapes {
		if a, b := dump(r.set.Map(i)), dump(own.Map(i)); !slices.Equal(a, b) {
			t.Errorf("%s holds %v, not %v", shapes[i].Name, a, b)
		}
		if a, b := r.set.Map(i).Refused(), own.Map(i).Refused(); a != b {
			t.Errorf("%s has refused %d, not %d", shapes[i].Name, a, b)
		}
	}
}

// slot returns which value this thread uses in a map with one for each CPU, by the hash of its
// pointer.
func slot(r *rig) int {
	r.call(program.FnCurrentPIDTGID, compile.NoMap)
	for off := 64; off < helper.ThreadsSize; off += 64 {
		data, _ := r.m.Data()
		if pointer := binary.LittleEndian.Uint64(data[threadsAt+off:]); pointer != 0 {
			mul := uint64(0x9e3779b97f4a7c15)
			return int(pointer * mul >> 32 * uint64(r.set.CPUs()) >> 32)
		}
	}
	return 0
}

func errno(err error) int64 {
	var e maps.Error
	if errors.As(err, &e) {
		return -int64(e.Errno())
	}
	return 0
}

func dump(m *maps.Map) (list []string) {
	for key, values := range m.All() {
		list = append(list, fmt.Sprintf("%x=%x", key, values))
	}
	slices.Sort(list)
	return list
}

// TestTogether has threads in machine code and goroutines in package maps work on the same maps:
// counts are exact, and no entry is lost or duplicated.
func TestTogether(t *testing.T) {
	const each, keys = 20000, 16
	for _, spec := range []program.Map{
		{Name: "hash", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: keys},
		{Name: "long", Type: program.Hash, KeySize: 16, ValueSize: 8, MaxEntries: keys},
		{Name: "lru", Type: program.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: keys},
	} {
		need := []compile.Helper{{Num: program.FnMapLookup}, {Num: program.FnMapUpdate}, {Num: program.FnMapDelete}}
		first := newRig(t, []program.Map{spec}, need...)
		rigs := []*rig{first, rigFor(t, first.set, need...), nil}
		var all sync.WaitGroup
		for id, r := range rigs {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(3, uint64(id)))
				m := first.set.Map(0)
				for range each {
					key, zero := make([]byte, spec.KeySize), make([]byte, 8)
					binary.LittleEndian.PutUint64(key, uint64(rnd.IntN(keys)))
					find := func() (*uint64, bool) {
						if r == nil {
							off, ok := m.Lookup(key, 0)
							return (*uint64)(unsafe.Pointer(&first.set.Bytes()[off])), ok
						}
						at := r.call(program.FnMapLookup, 0, 0, r.put(0, key))
						off := at - first.region()
						if at == 0 || off >= uint64(len(first.set.Bytes())) {
							return nil, false
						}
						return (*uint64)(unsafe.Pointer(&first.set.Bytes()[off])), true
					}
					update := func(flags uint64) int64 {
						if r == nil {
							return errno(m.Update(key, zero, flags, 0))
						}
						return int64(r.call(program.FnMapUpdate, 0, 0, r.put(0, key), r.put(1, zero), flags))
					}
					switch rnd.IntN(6) {
					case 0:
						if r == nil {
							_ = m.Delete(key)
						} else {
							r.call(program.FnMapDelete, 0, 0, r.put(0, key))
						}
					case 1:
						update(maps.Any)
					default:
						if _, ok := find(); !ok {
							update(maps.NoExist)
						}
					}
				}
			})
		}
		all.Wait()
		seen := map[string]bool{}
		for key := range first.set.Map(0).All() {
			if seen[string(key)] {
				t.Errorf("%s: %x is there twice", spec.Name, key)
			}
			seen[string(key)] = true
		}
		used := ring.Word(first.set.Bytes(), first.set.Map(0).Offset()+maps.OffUsed).Load()
		if used != uint64(len(seen)) {
			t.Errorf("%s: %d entries, %d are counted", spec.Name, len(seen), used)
		}
		// All nodes can be used again.
		for k := range uint64(keys) {
			key := binary.LittleEndian.AppendUint64(nil, k)
			key = append(key, make([]byte, spec.KeySize-8)...)
			if e := int64(first.call(program.FnMapUpdate, 0, 0, first.put(0, key), first.put(1, make([]byte, 8)), 0)); e != 0 {
				t.Errorf("%s: key %d: %d", spec.Name, k, e)
			}
		}
	}
}

// TestRing writes records of all sizes while they are read: each record arrives or was counted as
// dropped, and none is mixed up with another.
func TestRing(t *testing.T) {
	each := 30000
	if runtime.GOARCH == "arm64" { // an emulated CPU, as in the arm64 lane
		each = 3000
	}
	need := []compile.Helper{{Num: program.FnRingbufReserve}, {Num: program.FnRingbufOutput}, {Num: program.FnRingbufSubmit, Map: compile.NoMap},
		{Num: program.FnRingbufDiscard, Map: compile.NoMap}, {Num: program.FnRingbufQuery}}
	first := newRig(t, []program.Map{{Name: "ring", Type: program.RingBuf, MaxEntries: 4096}}, need...)
	rigs := []*rig{first, rigFor(t, first.set, need...)}
	written, discarded := make([]int, 2), make([]int, 2)
	var all sync.WaitGroup
	for id, r := range rigs {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(5, uint64(id)))
			for n := range each {
				rec := bytes.Repeat([]byte{byte(id*100 + n%100)}, 1+rnd.IntN(70))
				if n%3 == 0 {
					if r.call(program.FnRingbufOutput, 0, 0, r.put(0, rec), uint64(len(rec)), 0) == 0 {
						written[id]++
					}
					continue
				}
				at := r.call(program.FnRingbufReserve, 0, 0, uint64(len(rec)), 0)
				if at == 0 {
					continue
				}
				copy(native.Bytes(at, len(rec)), rec)
				if n%7 == 0 {
					r.call(program.FnRingbufDiscard, compile.NoMap, at, 0)
					discarded[id]++
				} else {
					r.call(program.FnRingbufSubmit, compile.NoMap, at, 0)
					written[id]++
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	reader := ring.NewReader(first.set.Map(0).Ring(), nil)
	read := 0
	drain := func() {
		for rec, ok := reader.Next(); ok; rec, ok = reader.Next() {
			read++
			if len(rec) == 0 || !bytes.Equal(rec, bytes.Repeat(rec[:1], len(rec))) {
				t.Fatalf("record %d: %x", read, rec)
			}
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		drain()
	}
	dropped := int(first.set.Map(0).Refused())
	if sum := written[0] + written[1]; read != sum || sum+discarded[0]+discarded[1]+dropped != 2*each || sum == 0 {
		t.Errorf("%d read, %v written, %v discarded, %d dropped", read, written, discarded, dropped)
	}
	if first.call(program.FnRingbufQuery, 0, 0, ring.Size) != 4096 || first.call(program.FnRingbufQuery, 0, 0, ring.Available) != 0 ||
		first.call(program.FnRingbufQuery, 0, 0, ring.Read) != first.call(program.FnRingbufQuery, 0, 0, ring.Written) ||
		first.call(program.FnRingbufQuery, 0, 0, 77) != 0 {
		t.Error("query")
	}
	if first.call(program.FnRingbufReserve, 0, 0, 8192, 0) != 0 || first.call(program.FnRingbufReserve, 0, 0, 8, 1) != 0 {
		t.Error("too much, or with flags")
	}
}

// TestThreads: ids are the kernel's, and are asked for once; a child's entries are empty if its
// memory is.
func TestThreads(t *testing.T) {
	r := newRig(t, nil, none(program.FnCurrentPIDTGID), none(program.FnCurrentUIDGID), none(program.FnCurrentComm), none(program.FnPrandomU32))
	data, _ := r.m.Data()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			runtime.LockOSThread() // and end the thread with the goroutine
			want := uint64(os.Getpid())<<32 | uint64(syscall.Gettid())
			own := rigFor(t, r.set, none(program.FnCurrentPIDTGID))
			for range 3 {
				if got := own.call(program.FnCurrentPIDTGID, compile.NoMap); got != want {
					t.Errorf("%#x, not %#x", got, want)
				}
			}
		})
	}
	all.Wait()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	want := uint64(os.Getpid())<<32 | uint64(syscall.Gettid())
	entries := func() (list []int) {
		for off := 64; off < helper.ThreadsSize; off += 64 {
			if binary.LittleEndian.Uint64(data[threadsAt+off:]) != 0 {
				list = append(list, off)
			}
		}
		return list
	}
	if got := r.call(program.FnCurrentPIDTGID, compile.NoMap); got != want {
		t.Errorf("%#x, not %#x", got, want)
	}
	list := entries()
	if len(list) == 0 && runtime.GOARCH == "arm64" {
		skip.Missing(t, "a thread pointer in Go programs without C")
	}
	if len(list) != 1 {
		t.Fatalf("entries %v", list)
	}
	pointer := binary.LittleEndian.Uint64(data[threadsAt+list[0]:])
	slots := helper.ThreadPlaces(pointer)
	if slots[0] != list[0] {
		t.Errorf("%#x is at %d, not %d", pointer, list[0], slots[0])
	}
	// A matching entry is used; if it does not match, the next one is tried.
	binary.LittleEndian.PutUint64(data[threadsAt+slots[0]+8:], 42)
	if got := r.call(program.FnCurrentPIDTGID, compile.NoMap); got != 42 {
		t.Errorf("%#x", got)
	}
	binary.LittleEndian.PutUint64(data[threadsAt+slots[0]+8:], 0)
	if got := r.call(program.FnCurrentPIDTGID, compile.NoMap); got != want {
		t.Errorf("forgotten: %#x, not %#x", got, want)
	}
	for i, off := range slots { // other threads have all places but the last, then that, too
		binary.LittleEndian.PutUint64(data[threadsAt+off:], uint64(i+1))
		if got := r.call(program.FnCurrentPIDTGID, compile.NoMap); got != want {
			t.Errorf("with %d others: %#x, not %#x", i+1, got, want)
		}
	}
	binary.LittleEndian.PutUint64(data[threadsAt:], 1) // another process's
	binary.LittleEndian.PutUint64(data[threadsAt+slots[0]:], pointer)
	binary.LittleEndian.PutUint64(data[threadsAt+slots[0]+8:], 0)
	if got := r.call(program.FnCurrentPIDTGID, compile.NoMap); got != want || binary.LittleEndian.Uint64(data[threadsAt+slots[0]+8:]) != 0 {
		t.Errorf("in another's memory: %#x, not %#x, or it is kept", got, want)
	}
	if got, want := r.call(program.FnCurrentUIDGID, compile.NoMap), uint64(os.Getgid())<<32|uint64(os.Getuid()); got != want {
		t.Errorf("users %#x, not %#x", got, want)
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", syscall.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	comm = bytes.TrimSpace(comm)
	for _, n := range []int{1, 4, 16, 32} {
		r.put(0, bytes.Repeat([]byte{0xff}, 40))
		r.call(program.FnCurrentComm, compile.NoMap, r.put(1, nil)-4096, uint64(n))
		want := make([]byte, n)
		copy(want[:n-1], comm)
		if got := r.got(0, n+1); !bytes.Equal(got, append(want, 0xff)) {
			t.Errorf("name %q of %d, not %q", got, n, want)
		}
	}
	if a, b := r.call(program.FnPrandomU32, compile.NoMap), r.call(program.FnPrandomU32, compile.NoMap); a == b || a>>32 != 0 {
		t.Errorf("random: %#x, %#x", a, b)
	}
}

func none(num int32) compile.Helper { return compile.Helper{Num: num, Map: compile.NoMap} }

// TestMemory reads mapped and unmapped memory.
func TestMemory(t *testing.T) {
	r := newRig(t, nil, none(program.FnProbeReadUser), none(program.FnProbeReadUserStr), none(program.FnStrncmp))
	page := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mem)
	if err := syscall.Mprotect(mem[2*page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(&mem[0])))
	for i := range 2 * page {
		mem[i] = byte(i%250 + 1)
	}
	room := r.put(0, nil)
	const fault = ^uint64(syscall.EFAULT) + 1
	for _, c := range []struct{ off, n int }{{0, 1}, {5, 8}, {page - 3, 100}, {2*page - 64, 64}, {2*page - 63, 64}, {2 * page, 8}, {0, 0}, {-1 << 40, 9}} {
		r.put(0, bytes.Repeat([]byte{0xee}, 200))
		want, bytesWant := uint64(0), make([]byte, c.n)
		if c.off < 0 || c.off+c.n > 2*page {
			want = fault
		} else {
			copy(bytesWant, mem[c.off:])
		}
		got := r.call(program.FnProbeReadUser, compile.NoMap, room, uint64(c.n), at+uint64(c.off))
		if b := r.got(0, c.n+1); got != want || !bytes.Equal(b, append(bytesWant, 0xee)) {
			t.Errorf("read %d at %d: %d, %x", c.n, c.off, int64(got), b)
		}
	}
	for _, c := range []struct{ off, length, n int }{{0, 5, 64}, {0, 63, 64}, {0, 64, 64}, {0, 200, 64}, {0, 200, 300}, {page - 10, 30, 64}, {2*page - 10, 9, 64},
		{2*page - 10, 10, 64}, {2*page - 10, 10, 10}, {0, 0, 8}, {0, 5, 1}, {3, 5, 0}} {
		saved := bytes.Clone(mem[:2*page])
		if c.off+c.length < 2*page {
			mem[c.off+c.length] = 0
		}
		r.put(0, bytes.Repeat([]byte{0xee}, 400))
		text := make([]byte, c.n)
		want := uint64(min(c.length+1, c.n))
		copy(text[:max(0, int(want)-1)], mem[c.off:])
		if c.length >= c.n && c.n > 0 {
			copy(text, mem[c.off:][:c.n-1])
		}
		if c.off+min(c.length+1, c.n) > 2*page {
			want, text = fault, make([]byte, c.n)
		}
		got := r.call(program.FnProbeReadUserStr, compile.NoMap, room, uint64(c.n), at+uint64(c.off))
		if b := r.got(0, c.n+1); got != want || !bytes.Equal(b, append(text, 0xee)) {
			t.Errorf("string of %d at %d to %d: %d, %q, not %d", c.length, c.off, c.n, int64(got), b, int64(want))
		}
		copy(mem, saved)
	}
	for _, c := range []struct {
		a, b string
		n    int
		want int64
	}{{"abc\x00", "abc\x00", 4, 0}, {"abd\x00", "abc\x00", 4, 1}, {"abb\x00", "abc\x00", 4, -1}, {"abcx", "abcy", 3, 0}, {"ab\x00z", "ab\x00y", 4, 0}, {"", "", 0, 0}} {
		if got := int64(r.call(program.FnStrncmp, compile.NoMap, r.put(0, []byte(c.a)), uint64(c.n), r.put(1, []byte(c.b)))); got != c.want {
			t.Errorf("%q and %q: %d", c.a, c.b, got)
		}
	}
}

// TestTime checks the clock's arithmetic; the counter advances between the calls.
func TestTime(t *testing.T) {
	r := newRig(t, []program.Map{{Name: "a", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}, none(program.FnKtimeGetNS), none(program.FnKtimeGetBootNS))
	r.set.SetClock(0, 1000, 0) // it stands
	if got := r.call(program.FnKtimeGetNS, compile.NoMap); got != 1000 {
		t.Errorf("%d", got)
	}
	r.set.SetClock(0, 7, 1<<maps.ClockShift(runtime.GOARCH)) // a nanosecond a cycle
	a := r.call(program.FnKtimeGetNS, compile.NoMap)
	r.set.SetClock(0, 7, 1<<(maps.ClockShift(runtime.GOARCH)-1))
	b := r.call(program.FnKtimeGetNS, compile.NoMap)
	if d := int64(b-7) - int64(a-7)/2; d < 0 || d > 1e9 {
		t.Errorf("%d, then at half the rate %d", a, b)
	}
	r.set.SetClock(0, 9, 0)
	r.set.SetClock(1<<62, 1000, 1<<20) // it applies only from then on
	if got := r.call(program.FnKtimeGetNS, compile.NoMap); got != 9 {
		t.Errorf("%d by the older line", got)
	}
	r.set.SetClock(1<<63-1, 7, 1<<20) // the counter is behind both
	if got := r.call(program.FnKtimeGetNS, compile.NoMap); got != 1000 {
		t.Errorf("%d", got)
	}
	seq := ring.Word(r.set.Bytes(), maps.OffClock+maps.ClockSeq)
	seq.Add(1) // the writer of the next line has died
	if got := r.call(program.FnKtimeGetNS, compile.NoMap); got != 7 {
		t.Errorf("%d beside a line that is not whole", got)
	}
	seq.Add(^uint64(0))
	before := handlerBoot()
	if got := r.call(program.FnKtimeGetBootNS, compile.NoMap); got < before || got > handlerBoot() {
		t.Errorf("boot time %d, not %d", got, before)
	}
}

func handlerBoot() uint64 {
	var t syscall.Timespec
	const boot = 7
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, boot, uintptr(unsafe.Pointer(&t)), 0)
	return uint64(t.Nano())
}

// TestOwn looks up the entry of the thread: it is found, also where it was found before, and never
// another thread's.
func TestOwn(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	specs := []program.Map{
		{Name: "a", Type: program.LRUHash, KeySize: 8, ValueSize: 16, MaxEntries: 4},
		{Name: "b", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 4},
		{Name: "c", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 4},
		{Name: "d", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 4},
	}
	var need []compile.Helper
	for i := range specs {
		need = append(need, compile.Helper{Num: program.FnMapLookup, Map: i}, compile.Helper{Num: compile.FnOwn, Map: i})
	}
	r := newRig(t, specs, append(need, none(program.FnCurrentPIDTGID))...)
	ids := uint64(os.Getpid())<<32 | uint64(syscall.Gettid())
	key := binary.LittleEndian.AppendUint64(nil, ids)
	rnd := rand.New(rand.NewPCG(7, 7))
	for n := range 20000 {
		i := rnd.IntN(len(specs))
		m := r.set.Map(i)
		value := make([]byte, specs[i].ValueSize)
		switch rnd.IntN(8) {
		case 0:
			_ = m.Delete(key)
		case 1:
			_ = m.Update(key, value, maps.Any, 0)
		case 2: // other entries come and go, also in its node
			other := binary.LittleEndian.AppendUint64(nil, uint64(rnd.IntN(9)))
			if _, ok := m.Lookup(other, 0); ok {
				_ = m.Delete(other)
			} else {
				_ = m.Update(other, value, maps.Any, 0)
			}
		default:
			off, ok := m.Lookup(key, 0)
			at := r.put(0, make([]byte, 8))
			want := uint64(0)
			if ok {
				want = r.region() + uint64(off)
			}
			if got := r.call(compile.FnOwn, i, 0, at); got != want {
				t.Fatalf("%d: %s: %#x, not %#x", n, specs[i].Name, got, want)
			}
			if !bytes.Equal(r.got(0, 8), key) {
				t.Fatalf("%d: the key is %x", n, r.got(0, 8))
			}
		}
	}
}

// TestEntry has threads take entries and slots, also when none are left.
func TestEntry(t *testing.T) {
	set, err := maps.New([]program.Map{{Name: "a", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}}, maps.Options{CPUs: 2, Slots: true})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	r := rigFor(t, set, none(compile.FnEntry), none(program.FnCurrentPIDTGID))
	if r.env.Slots == 0 {
		skip.Missing(t, "thread pointers that instructions and the ABI tell: amd64 with fsgsbase")
	}
	end := make(chan bool)
	var all sync.WaitGroup
	defer all.Wait()
	defer close(end)
	entries, slots := map[uint64]bool{}, []uint64{}
	thread := func() {
		done := make(chan bool)
		all.Go(func() {
			runtime.LockOSThread() // until all are done: no two threads have the same pointer
			defer runtime.UnlockOSThread()
			entry := r.call(compile.FnEntry, compile.NoMap)
			if ids := r.call(program.FnCurrentPIDTGID, compile.NoMap); ids != uint64(os.Getpid())<<32|uint64(syscall.Gettid()) {
				t.Errorf("ids %#x", ids)
			}
			if again := r.call(compile.FnEntry, compile.NoMap); again != entry || entries[entry] {
				t.Errorf("entry %#x, then %#x; another's: %v", entry, again, entries[entry])
			}
			entries[entry] = true
			memory, base := r.m.Data()
			slots = append(slots, binary.LittleEndian.Uint64(memory[entry-uint64(base):][compile.ThreadSlot:]))
			close(done)
			<-end
		})
		<-done
	}
	for range 5 {
		thread()
	}
	ring.Word(set.Bytes(), maps.OffNextSlot).Store(maps.Slots - 1)
	for range 3 {
		thread()
	}
	if want := []uint64{3, 4, 5, 6, 7, maps.Slots - 1, maps.Slots, maps.Slots}; !slices.Equal(slots, want) {
		t.Errorf("slots %v, not %v", slots, want)
	}
}

// ownStack is a program that runs on a stack of ptracer's, at Base of a rig.
type ownStack struct {
	*rig
	stacks arch.Addr
	rnd    *rand.Rand
}

const (
	ownStackRoom = 64        // on the program's stack, bytes
	ownStackSP   = 512 << 10 // where that is in the rig's data
)

// newOwnStack makes a program that stores the program's stack pointer and the time.
func newOwnStack(t *testing.T, ctx program.Context) *ownStack {
	t.Helper()
	r := newRig(t, []program.Map{{Name: "a", Type: program.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1}})
	const place, stacks = 64 << 10, 2 << 20
	_, data := r.m.Data()
	align := arch.Addr(compile.OwnStackSize)
	if ctx.Arch == "arm64" {
		align = compile.PoolStacks * compile.PoolStack
	}
	r.env.Stacks = (data + stacks + align - 1) &^ (align - 1)
	var err error
	if r.lib, err = r.env.Make([]compile.Helper{handler.TakeStack, none(program.FnKtimeGetNS), none(compile.FnEntry)}, r.m.Base()+place); err == nil {
		err = r.m.LoadAt(place, r.lib.Code)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := build.New("test", ctx)
	at, now := b.Var(), b.Slot(8)
	b.SP(at)
	b.Time(build.R0)
	b.Store(now, build.R0)
	b.Index(b.Map(r.set.Map(0).Spec()), 0)
	b.Store(build.At(build.R0, 0), at)
	b.Load(build.R1, now)
	b.Store(build.At(build.R0, 8), build.R1)
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	checked, err := verify.Check(p, verify.Options{Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	way := compile.Way{Flags: true, Stack: ownStackRoom, Helpers: r.lib.Stack, Own: compile.OwnStack{Threads: r.env.Threads, Pool: r.env.Stacks, Enter: r.lib.At[handler.TakeStack]}}
	code, err := handler.Native([]handler.Piece{{Program: checked, Set: r.set, Region: r.env.Region, Way: way, Helpers: r.lib.At}}, r.m.Base())
	if err == nil {
		err = r.m.Load(append(code, native.Jump(r.m.Base()+arch.Addr(len(code)), r.m.Exit())...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return &ownStack{r, r.env.Stacks, rand.New(rand.NewPCG(5, 5))}
}

// run runs it once, in a thread with random registers; lost says that this is the first time
// without a stack.
func (o *ownStack) run(lost bool) {
	t := o.t
	t.Helper()
	const sp = ownStackSP
	var in arch.Regs
	for w := range in {
		in[w] = o.rnd.Uint64()
	}
	in = native.Thread(in)
	memory, data := o.m.Data()
	in[native.SP] = uint64(data) + sp
	around := memory[sp-ownStackRoom-256 : sp+256]
	for i := range around {
		around[i] = byte(o.rnd.Uint32())
	}
	before := bytes.Clone(around)
	value := o.set.Bytes()[o.set.Map(0).Layout().Data:][:16]
	clear(value)
	out := in
	o.m.Run(o.m.Base(), &out, nil)
	if d := native.Diff(&in, &out); d != "" {
		t.Error(d)
	}
	if !bytes.Equal(around[:256], before[:256]) || !bytes.Equal(around[256+ownStackRoom:], before[256+ownStackRoom:]) {
		t.Error("it writes to the program's stack")
	}
	want, losses := make([]byte, 16), uint64(1)
	if !lost {
		losses = 0
		binary.LittleEndian.PutUint64(want, uint64(data)+sp)
		binary.LittleEndian.PutUint64(want[8:], 77)
	}
	if !bytes.Equal(value, want) || o.set.Lost() != losses {
		t.Errorf("it says %x, not %x; %d are lost, not %d", value, want, o.set.Lost(), losses)
	}
}

// TestOwnStack runs code on a stack of ptracer's while the program's stack has next to no room:
// nothing changes but the code's effect. If the stack is in use to its last level the code does not
// run, which is counted.
func TestOwnStack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil || !handler.Stacked(ctx) {
		skip.Missing(t, "thread pointers that an instruction tells: fsgsbase")
	}
	if ctx.Arch == "arm64" {
		testPool(newOwnStack(t, ctx))
		return
	}
	o := newOwnStack(t, ctx)
	o.set.SetClock(0, 77, 0)
	for range 5 {
		o.run(false)
	}
	memory, data := o.m.Data()
	entry := memory[o.call(compile.FnEntry, compile.NoMap)-uint64(data):]
	free := binary.LittleEndian.Uint64(entry[compile.ThreadStack:])
	if used := -(free - uint64(o.stacks)) % compile.OwnStackSize; used != 0 {
		t.Errorf("%d bytes of the stack were not given back", used)
	}
	for n := range uint64(3) { // interrupted handlers
		level := free - 4096*(n+1)
		binary.LittleEndian.PutUint64(entry[compile.ThreadStack:], level)
		o.run(n == 2)
		if got := binary.LittleEndian.Uint64(entry[compile.ThreadStack:]); got != level {
			t.Errorf("the stack is free from %#x on, not %#x", got, level)
		}
	}
}

// testPool is TestOwnStack with a pool of stacks: the first free one is taken, and released.
func testPool(o *ownStack) {
	o.set.SetClock(0, 77, 0)
	for range 5 {
		o.run(false)
	}
	memory, data := o.m.Data()
	words := func() (list []uint64) {
		for i := range compile.PoolStacks {
			at := o.stacks - data + arch.Addr((i+1)*compile.PoolStack-16)
			list = append(list, binary.LittleEndian.Uint64(memory[at:]))
		}
		return list
	}
	if slices.ContainsFunc(words(), func(w uint64) bool { return w != 0 }) {
		o.t.Errorf("not all stacks were given back: %d", words())
	}
	first := int(data+ownStackSP-ownStackRoom) >> 11 % (compile.PoolStacks / 2)
	for i := first; i < compile.PoolStacks; i++ { // interrupted handlers
		binary.LittleEndian.PutUint64(memory[o.stacks-data+arch.Addr((i+1)*compile.PoolStack-16):], 1)
		before := words()
		o.run(i == compile.PoolStacks-1)
		if after := words(); !slices.Equal(before, after) {
			o.t.Fatalf("with %d to %d taken: %d, not %d", first, i, after, before)
		}
	}
}
