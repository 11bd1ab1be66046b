package ring

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"
)

// TestFarReader reads a ring with space that another process releases: each record once, without a
// request for each.
func TestFarReader(t *testing.T) {
	const size, span = 4096, 64
	near, rd, asked := farRing(t, size)
	next := uint64(0)
	for lap := range 200 {
		for range lap % 50 { // up to an eighth is not given back yet
			near.write(t, span-8)
		}
		for {
			record, ok := rd.Next()
			if !ok {
				break
			}
			if n := binary.LittleEndian.Uint64(record); n != next {
				t.Fatalf("record %d, want %d", n, next)
			}
			next++
		}
	}
	if next != near.written || near.Dropped() != 0 {
		t.Errorf("%d records of %d, %d dropped", next, near.written, near.Dropped())
	}
	if most := int(next*span/(size/8)) + 10; *asked > most {
		t.Errorf("asked %d times for %d records, %d would do", *asked, next, most)
	}
	if near.head.Load() == near.tail.Load() {
		t.Error("all was given back at once")
	}
	if _, err := rd.Read(time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) || near.head.Load() != near.tail.Load() {
		t.Errorf("%v: given back up to %d of %d", err, near.head.Load(), near.tail.Load())
	}
}

// TestFarReaderAlone has space released no more while the ring is full to the last byte.
func TestFarReaderAlone(t *testing.T) {
	const size, span = 4096, 64
	near, rd, _ := farRing(t, size)
	for range 5 {
		near.write(t, span-8)
		if _, ok := rd.Next(); !ok {
			t.Fatal("no record")
		}
	}
	_, _ = rd.Read(time.Now())
	for range size / span {
		near.write(t, span-8)
	}
	if used := near.tail.Load() - near.head.Load(); used != size {
		t.Fatalf("%d bytes used", used)
	}
	near.gone = true
	n := 0
	for ; n <= size/span; n++ {
		if _, ok := rd.Next(); !ok {
			break
		}
	}
	if _, ok := rd.Next(); ok || n != size/span {
		t.Errorf("%d records read of %d, and more: %v", n, size/span, ok)
	}
}

// nearRing is a ring beside its writer, which numbers its records.
type nearRing struct {
	*Ring
	written uint64
	gone    bool // the process that releases space
}

func (r *nearRing) write(t *testing.T, size int) {
	t.Helper()
	b := make([]byte, size)
	binary.LittleEndian.PutUint64(b, r.written)
	if !r.Output(b, 1) {
		t.Fatalf("no room for record %d", r.written)
	}
	r.written++
}

func farRing(t *testing.T, size int) (near *nearRing, far *Reader, asked *int) {
	t.Helper()
	r, err := Format(make([]byte, HeaderSize+size), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	near, asked = &nearRing{Ring: r}, new(int)
	giver := NewReader(r, nil)
	return near, NewFarReader(r, func(pos uint64) uint64 {
		*asked++
		if near.gone {
			return 0
		}
		return giver.Take(pos)
	}), asked
}
