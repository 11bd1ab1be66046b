package ring

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// A ring in a region is a header, and the space for records. The words that writers write, and the
// one that the reader writes, have cache lines of their own.
const (
	HeaderSize = 256 // bytes before the records

	OffSecret  = 0   // the secret of the tags; constant
	OffTail    = 64  // position behind the last record
	OffDropped = 72  // records that did not fit
	OffHead    = 128 // position of the first record with unreleased space
)

// A record's header, the word before it. Words with the bit Free are tags: no record begins there.
// The lower half has the length in bytes.
const (
	Free      = 1 << 63
	Busy      = 1 << 62 // its writer is not finished
	Discarded = 1 << 61
	TIDShift  = 32
	TIDMask   = 1<<28 - 1
	lenMask   = 1<<32 - 1
)

// Sizes of rings, in bytes.
const (
	MinSize = 64
	MaxSize = 1 << 31
)

// Ring is a ring in shared memory. Its methods may be called from any goroutine, and do not
// allocate.
type Ring struct {
	data                []byte
	base                int // of data, in the region
	secret              uint64
	tail, head, dropped *atomic.Uint64
}

// Format makes a ring for size bytes of records, a power of two, at off in a region.
// HeaderSize+size bytes there must be 0 and not in use.
func Format(region []byte, off, size int) (*Ring, error) {
	Word(region, off+OffSecret).Store(rand.Uint64())
	r, err := At(region, off, size)
	if err != nil {
		return nil, err
	}
	for pos := uint64(0); pos < uint64(size); pos += 8 {
		r.word(pos).Store(r.tag(pos))
	}
	return r, nil
}

// At returns the ring that Format has made.
func At(region []byte, off, size int) (*Ring, error) {
	if size < MinSize || size > MaxSize || size&(size-1) != 0 {
		return nil, fmt.Errorf("%w: a ring of %d bytes", ErrRegion, size)
	}
	if off < 0 || off%8 != 0 || off > len(region)-HeaderSize-size {
		return nil, fmt.Errorf("%w: a ring of %d bytes at %d of %d", ErrRegion, size, off, len(region))
	}
	at := func(o int) *atomic.Uint64 { return Word(region, off+o) }
	return &Ring{
		data: region[off+HeaderSize:][:size:size], base: off + HeaderSize, secret: at(OffSecret).Load(),
		tail: at(OffTail), head: at(OffHead), dropped: at(OffDropped),
	}, nil
}

func (r *Ring) word(pos uint64) *atomic.Uint64 { return Word(r.data, int(pos)&(len(r.data)-8)) }

// tag is the contents of a free word at a position.
func (r *Ring) tag(pos uint64) uint64 { return (pos ^ r.secret) | Free }

// span is the space that a record of n bytes takes, in bytes.
func span(n uint64) uint64 { return 8 + (n+7)&^7 }

// tries bounds the retries of a writer in corrupt memory, or while other writers keep filling the
// ring.
const tries = 1 << 12

// Reserve takes space for a record of size bytes, at most half of the ring's minus 8, for the
// thread tid. It returns the record's offset in the region; false if there is no space, and the
// record then counts as dropped.
func (r *Ring) Reserve(size, tid int) (off int, ok bool) {
	if size < 0 || span(uint64(size)) > uint64(len(r.data)/2) {
		r.dropped.Add(1)
		return 0, false
	}
	all := uint64(len(r.data))
	for range tries {
		tail := r.tail.Load()
		used := tail - r.head.Load()
		if used > all {
			continue // an outdated tail
		}
		header, n := Busy|uint64(tid&TIDMask)<<TIDShift|uint64(size), span(uint64(size))
		rest := all - tail&(all-1)
		if n > rest { // the rest of the memory becomes filler
			header, n = Discarded|(rest-8), rest
		}
		if used+n > all {
			break
		}
		if r.word(tail).CompareAndSwap(r.tag(tail), header) {
			r.tail.CompareAndSwap(tail, tail+n)
			if header&Busy != 0 {
				return r.base + int(tail&(all-1)) + 8, true
			}
		} else if h := r.word(tail).Load(); h&Free == 0 {
			r.tail.CompareAndSwap(tail, tail+span(h&lenMask))
		}
	}
	r.dropped.Add(1)
	return 0, false
}

// Submit passes the record at off, which Reserve has returned, to the reader.
func (r *Ring) Submit(off int) { r.end(off, 0) }

// Discard drops the record at off.
func (r *Ring) Discard(off int) { r.end(off, Discarded) }

func (r *Ring) end(off int, how uint64) {
	at := off - r.base - 8
	if at < 0 || at%8 != 0 || at > len(r.data)-8 {
		return
	}
	w := Word(r.data, at)
	if h := w.Load(); h&(Free|Busy) == Busy {
		w.Store(h&^Busy | how)
	}
}

// Output writes a record; it returns false if there is no space.
func (r *Ring) Output(data []byte, tid int) bool {
	off, ok := r.Reserve(len(data), tid)
	if ok {
		copy(r.data[off-r.base:], data)
		r.Submit(off)
	}
	return ok
}

// Contains reports whether a record that Reserve has returned belongs to this ring.
func (r *Ring) Contains(off int) bool { return off >= r.base && off < r.base+len(r.data) }

// Dropped is how many records did not fit.
func (r *Ring) Dropped() uint64 { return r.dropped.Load() }

// Values for Query, as in bpf_ringbuf_query.
const (
	Available = iota // bytes with unread records
	Size
	Read    // position of the reader
	Written // position of the writers
)

// Query returns a value of the ring, 0 for an unknown request.
func (r *Ring) Query(what uint64) uint64 {
	switch what {
	case Available:
		head := r.head.Load()
		return r.tail.Load() - head
	case Size:
		return uint64(len(r.data))
	case Read:
		return r.head.Load()
	case Written:
		return r.tail.Load()
	}
	return 0
}
