package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

func newRing(t testing.TB, size int) (*Ring, *Region) {
	t.Helper()
	region, err := Create("test", HeaderSize+size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { region.Close() })
	r, err := Format(region.Bytes(), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	return r, region
}

// TestModel holds a ring against a list, with records of all lengths.
func TestModel(t *testing.T) {
	const size = 1024
	r, _ := newRing(t, size)
	rd := NewReader(r, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	drops, idle := 0, true // idle: the reader has seen that there is nothing
	for i := range 100_000 {
		if rnd.IntN(2) == 0 {
			data := make([]byte, rnd.IntN([]int{9, 65, size}[rnd.IntN(3)]))
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
			off, ok := r.Reserve(len(data), 1)
			switch {
			case !ok:
				drops++
				if idle && len(data) <= size/2-8 {
					t.Fatalf("%d: an empty ring has no space for %d bytes", i, len(data))
				}
			case rnd.IntN(8) == 0:
				r.Discard(off)
			default:
				copy(r.data[off-r.base:], data)
				r.Submit(off)
				want = append(want, data)
			}
			idle = idle && !ok
			continue
		}
		got, ok := rd.Next()
		if ok != (len(want) > 0) || ok && !bytes.Equal(got, want[0]) {
			t.Fatalf("%d: read %x, %v instead of %d records, %v", i, got, ok, len(want), want[:min(1, len(want))])
		}
		idle = !ok
		if ok {
			want = want[1:]
		}
	}
	if r.Dropped() != uint64(drops) || drops == 0 {
		t.Errorf("%d dropped, %d counted", drops, r.Dropped())
	}
}

// TestWriters lets many write at once: each one's records come whole, in their
// order, and those that do not come were counted.
func TestWriters(t *testing.T) {
	const writers, each = 8, 20_000
	r, _ := newRing(t, 1<<13)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 0))
			for i := range each {
				rec := record(w, i, 16+rnd.IntN(100))
				r.Output(rec, w)
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	rd := NewReader(r, nil)
	last := [writers]int{}
	seen := 0
	for over := false; ; {
		rec, ok := rd.Next()
		if !ok {
			if over {
				break
			}
			select {
			case <-done:
				over = true
			default:
				runtime.Gosched()
			}
			continue
		}
		w, i := checkRecord(t, rec)
		if i < last[w] {
			t.Fatalf("writer %d: record %d after %d", w, i, last[w])
		}
		last[w] = i
		seen++
	}
	if total := uint64(seen) + r.Dropped(); total != writers*each {
		t.Errorf("%d read, %d dropped, of %d", seen, r.Dropped(), writers*each)
	}
	if seen < writers*each/100 {
		t.Errorf("only %d of %d records got through", seen, writers*each)
	}
}

// record is one that says what it holds.
func record(w, i, n int) []byte {
	rec := bytes.Repeat([]byte{byte(i)}, n)
	binary.LittleEndian.PutUint32(rec, uint32(w))
	binary.LittleEndian.PutUint32(rec[4:], uint32(i))
	binary.LittleEndian.PutUint32(rec[8:], uint32(n))
	return rec
}

func checkRecord(t *testing.T, rec []byte) (w, i int) {
	t.Helper()
	if len(rec) < 12 {
		t.Fatalf("a record of %d bytes", len(rec))
	}
	w, i = int(binary.LittleEndian.Uint32(rec)), int(binary.LittleEndian.Uint32(rec[4:]))
	if !bytes.Equal(rec, record(w, i, len(rec))) {
		t.Fatalf("a record that nobody wrote: %x", rec)
	}
	return w, i
}

// TestDeadWriter: a record that its writer never completes, and one with a writer that did not even
// move the tail, are skipped when the writer has ended, and not before.
func TestDeadWriter(t *testing.T) {
	for _, early := range []bool{false, true} {
		r, _ := newRing(t, 1024)
		gone := false
		rd := NewReader(r, func(tid int) bool { return tid != 77 || !gone })
		r.Output([]byte("before"), 1)
		tail := r.tail.Load()
		if _, ok := r.Reserve(40, 77); !ok {
			t.Fatal("no space")
		}
		if early {
			r.tail.Store(tail)
		}
		r.Output([]byte("behind"), 1)
		if rec, _ := rd.Next(); string(rec) != "before" {
			t.Fatalf("%q", rec)
		}
		if rec, ok := rd.Next(); ok {
			t.Fatalf("%q passes a writer that is at it", rec)
		}
		if _, err := rd.Read(time.Now().Add(3 * patience)); !errors.Is(err, os.ErrDeadlineExceeded) || rd.Skipped() != 0 {
			t.Fatalf("%v, %d skipped while it lives", err, rd.Skipped())
		}
		gone = true
		rec, err := rd.Read(time.Now().Add(time.Minute))
		if string(rec) != "behind" || err != nil || rd.Skipped() != 1 {
			t.Fatalf("%q, %v, %d skipped", rec, err, rd.Skipped())
		}
	}
}

// TestLastRecord has a writer die before it moves the tail, with no write after it until its record
// is skipped.
func TestLastRecord(t *testing.T) {
	r, _ := newRing(t, 1024)
	rd := NewReader(r, func(int) bool { return false })
	for i := range 100 {
		r.Reserve(40, 77)
		r.tail.Add(^uint64(48 - 1))
		for range 2 {
			rd.Next()
			rd.since = rd.since.Add(-time.Hour)
		}
		r.Output([]byte{byte(i)}, 1)
		if rec, ok := rd.Next(); !ok || rec[0] != byte(i) {
			t.Fatalf("%d: %v %v, skipped %d", i, rec, ok, rd.Skipped())
		}
	}
}

// TestNextReader has readers stop anywhere, also in the middle of giving space
// back; the next one gets what the last one did not.
func TestNextReader(t *testing.T) {
	const size = 1024
	for cut := range 200 {
		r, _ := newRing(t, size)
		for range cut % 7 { // begin anywhere in the ring
			r.Output(make([]byte, 100), 1)
		}
		first := NewReader(r, nil)
		for range cut % 7 {
			first.Next()
		}
		first.Next()
		first.publish()
		for i := range 5 {
			r.Output(record(0, i, 16+8*i), 1)
		}
		for range cut % 6 {
			first.Next()
		}
		if k := cut / 6; first.given > 0 && k > 0 { // it dies while it gives back
			n, all := uint64(k)*8, uint64(size)
			for at := first.given - 8; at > 0 && at+n > first.given; at -= 8 {
				r.word(first.pos + at).Store(r.tag(first.pos + at + all))
			}
			w := r.word(first.pos)
			w.Store(w.Load() | Discarded)
			if n >= first.given {
				w.Store(r.tag(first.pos + all))
			}
		}
		last := -1
		second := NewReader(r, nil)
		for rec, ok := second.Next(); ok; rec, ok = second.Next() {
			_, last = checkRecord(t, rec)
		}
		if last != 4 && !(cut%6 == 5 && last == -1) {
			t.Fatalf("%d: the last that came is %d", cut, last)
		}
		if !r.Output(make([]byte, size/2-8), 1) {
			t.Fatalf("%d: no space in an empty ring", cut)
		}
	}
}

// TestSpoiled lets a hostile program have the memory: nothing crashes, nothing
// hangs.
func TestSpoiled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		r, region := newRing(t, 1024)
		rd := NewReader(r, func(int) bool { return false })
		for range 200 {
			b := region.Bytes()
			off := rnd.IntN(len(b)/8) * 8
			Word(b, off).Store([]uint64{rnd.Uint64(), rnd.Uint64() >> 40, 0, Busy | rnd.Uint64()>>50, ^uint64(0)}[rnd.IntN(5)])
			r.Output(make([]byte, rnd.IntN(600)), 1)
			rd.Next()
			rd.since = time.Time{}
			r.Submit(rnd.IntN(3000) - 500)
		}
		NewReader(r, nil).Next()
	}
}

// TestProcesses writes from processes that are killed, again and again.
func TestProcesses(t *testing.T) {
	r, region := newRing(t, 1<<16)
	rd := NewReader(r, func(tid int) bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", tid))
		return err == nil
	})
	seen := 0
	for round := range 20 {
		procs := startWriters(t, region, 3, 1<<16)
		for end := seen + 2000; seen < end; {
			rec, err := rd.Read(time.Now().Add(time.Minute))
			if err != nil {
				t.Fatalf("round %d: %v, %d skipped", round, err, rd.Skipped())
			}
			checkRecord(t, rec)
			seen++
		}
		for _, p := range procs {
			p.Process.Kill()
			p.Wait()
		}
	}
	// What they left does not stand in the way.
	for end := time.Now().Add(time.Minute); !r.Output(record(9, 9, 20), os.Getpid()); {
		if _, err := rd.Read(end); err != nil {
			t.Fatalf("a full ring: %v", err)
		}
	}
	for {
		rec, err := rd.Read(time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := checkRecord(t, rec); w == 9 {
			break
		}
	}
	t.Logf("%d records, %d dropped, %d left by the dead", seen, r.Dropped(), rd.Skipped())
}

func TestRefused(t *testing.T) {
	region, err := Create("test", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer region.Close()
	for _, c := range [][2]int{{0, 100}, {0, 32}, {4, 1024}, {-8, 1024}, {0, 4096}, {3000, 1024}} {
		if _, err := At(region.Bytes(), c[0], c[1]); !errors.Is(err, ErrRegion) {
			t.Errorf("ring of %d at %d: %v", c[1], c[0], err)
		}
	}
	if err := region.File().Truncate(100); err == nil {
		t.Error("memory can be taken away")
	}
	plain, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := Open(plain); !errors.Is(err, ErrRegion) {
		t.Errorf("a plain file is memory: %v", err)
	}
	if _, err := Create("test", 0); err == nil {
		t.Error("a region of nothing")
	}
}

func TestOrder(t *testing.T) {
	o := Order[uint64]{Span: 100}
	rnd := rand.New(rand.NewPCG(5, 6))
	var last uint64
	n := 0
	take := func(all bool) {
		for v, ok := o.Next(all); ok; v, ok = o.Next(all) {
			if v < last {
				t.Fatalf("%d after %d", v, last)
			}
			last = v
			n++
		}
	}
	for i := range 10_000 {
		v := uint64(1000 + 10*i - rnd.IntN(100))
		o.Put(v, v)
		take(false)
		if len(o.held) > 30 {
			t.Fatalf("%d held back", len(o.held))
		}
	}
	if n == 10_000 {
		t.Error("nothing is held back")
	}
	o.Pass(1 << 40)
	take(false)
	if n != 10_000 {
		t.Errorf("%d of 10000", n)
	}
	o.Put(last, 1)
	if _, ok := o.Next(true); !ok {
		t.Error("what is left does not come at the end")
	}
}

// TestAllocations: none, on either side.
func TestAllocations(t *testing.T) {
	r, _ := newRing(t, 1<<16)
	rd := NewReader(r, nil)
	data := make([]byte, 32)
	if n := testing.AllocsPerRun(1000, func() {
		r.Output(data, 1)
		rd.Next()
	}); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

func BenchmarkOutput(b *testing.B) {
	r, _ := newRing(b, 1<<20)
	rd := NewReader(r, nil)
	data := make([]byte, 32)
	b.ReportAllocs()
	for i := range b.N {
		r.Output(data, 1)
		if i%1024 == 1023 {
			for _, ok := rd.Next(); ok; _, ok = rd.Next() {
			}
		}
	}
}

// BenchmarkStream is one writer and one reader, each on a CPU of its own.
func BenchmarkStream(b *testing.B) {
	r, _ := newRing(b, 1<<20)
	data := make([]byte, 32)
	go func() {
		for range b.N {
			for !r.Output(data, 1) {
				runtime.Gosched()
			}
		}
	}()
	rd := NewReader(r, nil)
	for i := 0; i < b.N; {
		if _, ok := rd.Next(); ok {
			i++
		}
	}
}
