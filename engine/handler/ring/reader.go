package ring

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Reader takes the records out of a ring. There is one at a time, used by one
// goroutine. Its methods allocate nothing, and while there are records they
// ask the kernel nothing.
type Reader struct {
	ring  *Ring
	alive func(tid int) bool
	pos   uint64 // of the record given last, or of the next one
	given uint64 // its span, 0: none
	freed uint64 // position up to which writers know of the space

	stuck   uint64 // busy header at pos
	since   time.Time
	skipped uint64
	err     error

	// far tells who gives space back in our stead how far we have read, and
	// gets how far he is, which is in back; nil: we do it.
	far  func(pos uint64) uint64
	back uint64
}

// patience is how long a record may be busy until its writer's life is asked
// for.
const patience = 10 * time.Millisecond

// NewReader goes on where the last reader of the ring stopped; what that one
// gave last may come again. alive tells whether a thread can still be writing.
func NewReader(r *Ring, alive func(tid int) bool) *Reader {
	rd := &Reader{ring: r, alive: alive, pos: r.head.Load() &^ 7}
	rd.freed = rd.pos
	all := uint64(len(r.data))
	for rd.pos-rd.freed < all && r.word(rd.pos).Load() == r.tag(rd.pos+all) {
		rd.pos += 8 // given back, but nobody was told
	}
	return rd
}

// NewFarReader reads a ring that it can't write. take is told the position up to
// which records have been read, now and then, and gives the one up to which their
// space was given back, by Reader.Take of who can; it may be further, behind what
// a dead writer has left, and is 0 where there is nobody any more.
func NewFarReader(r *Ring, take func(pos uint64) uint64) *Reader {
	rd := &Reader{ring: r, far: take}
	rd.askFar()
	return rd
}

// Take gives back the space of the records before pos, which somebody else has
// read, and tells up to where all was given back.
func (rd *Reader) Take(pos uint64) uint64 {
	for rd.pos+rd.given < pos {
		if _, ok := rd.Next(); !ok {
			break
		}
	}
	if rd.pos+rd.given <= pos {
		rd.Next() // gives back, and skips what a dead writer has left
	}
	rd.given = 0 // that one has not been read
	rd.publish()
	return rd.pos
}

// Next gives the next record, false if there is none yet. It is valid until the
// next call. Who wrote it may write it still: what must not change is copied
// first.
func (rd *Reader) Next() (record []byte, ok bool) {
	rd.release()
	r := rd.ring
	for rd.err == nil {
		if rd.far != nil && !rd.mayBeMore() {
			return nil, false
		}
		h := r.word(rd.pos).Load()
		n := span(h & lenMask)
		switch at := rd.pos & uint64(len(r.data)-1); {
		case h&Free != 0:
			rd.publishNear()
			return nil, false
		case n > uint64(len(r.data))-at:
			rd.err = fmt.Errorf("%w: a record of %d bytes at %d of %d", ErrRegion, h&lenMask, at, len(r.data))
		case h&Busy != 0 && !rd.dead(h):
			rd.publishNear()
			return nil, false
		case h&(Busy|Discarded) != 0:
			if rd.far == nil {
				r.tail.CompareAndSwap(rd.pos, rd.pos+n) // its writer may not have come to that
			}
			rd.given = n
			rd.release()
		default:
			rd.given = n
			return r.data[at+8:][: h&lenMask : h&lenMask], true
		}
	}
	return nil, false
}

// dead is whether a busy record's writer is gone.
func (rd *Reader) dead(h uint64) bool {
	if rd.stuck != h {
		rd.stuck, rd.since = h, time.Now()
		return false
	}
	if time.Since(rd.since) < patience {
		return false
	}
	if rd.far != nil {
		rd.since = time.Now()
		rd.askFar()
		return false
	}
	if rd.alive == nil {
		return false
	}
	if rd.alive(int(h >> TIDShift & TIDMask)) {
		rd.since = time.Now()
		return false
	}
	if rd.ring.word(rd.pos).Load() != h {
		return false // it was done in time
	}
	rd.skipped++
	rd.stuck = 0
	return true
}

// release gives back the space of the record given last: the header last, so
// that a reader after us can tell whether all of it was.
func (rd *Reader) release() {
	if rd.given == 0 {
		return
	}
	r, all := rd.ring, uint64(len(rd.ring.data))
	if rd.far == nil {
		store(r.word(rd.pos), r.word(rd.pos).Load()&lenMask|Discarded)
		for at := rd.pos + rd.given - 8; at != rd.pos; at -= 8 {
			store(r.word(at), r.tag(at+all))
		}
		store(r.word(rd.pos), r.tag(rd.pos+all))
	}
	rd.pos += rd.given
	rd.given, rd.stuck = 0, 0
	if rd.pos-rd.freed >= all/8 {
		rd.publish()
	}
}

// store stores behind all stores before it. Go's own atomic store is an exchange on
// amd64, ten times the cost, for an order to loads that nobody needs here; there
// each store is seen behind those before it anyway.
func store(at *atomic.Uint64, v uint64) {
	if runtime.GOARCH == "amd64" {
		*(*uint64)(unsafe.Pointer(at)) = v
		return
	}
	at.Store(v)
}

// publish tells the writers of space. It is not done for each record: their
// copy of the word would have to be fetched each time.
func (rd *Reader) publish() {
	if rd.freed == rd.pos {
		return
	}
	rd.freed = rd.pos
	if rd.far != nil {
		rd.askFar()
		return
	}
	rd.ring.head.Store(rd.pos)
}

// publishNear is publish where that asks nobody: where the reader has caught up,
// which may be at each record.
func (rd *Reader) publishNear() {
	if rd.far == nil {
		rd.publish()
	}
}

// askFar tells how far we are, and goes on where the space was given back
// further.
func (rd *Reader) askFar() {
	rd.back = max(rd.back, rd.far(rd.pos))
	rd.pos = max(rd.pos, rd.back)
	rd.freed = rd.pos
}

// mayBeMore is false where as much was read as there can be since space was given
// back: what lies here is the first of that.
func (rd *Reader) mayBeMore() bool {
	all := uint64(len(rd.ring.data))
	if rd.pos-rd.back >= all {
		rd.askFar()
	}
	return rd.pos-rd.back < all
}

// Waits of Read, when there is nothing to read.
const (
	shortWait = 50 * time.Microsecond
	longWait  = 5 * time.Millisecond
)

// Read gives the next record like Next, and waits for one until the deadline;
// then the error is os.ErrDeadlineExceeded. Other errors are of memory that was
// spoiled.
func (rd *Reader) Read(deadline time.Time) (record []byte, err error) {
	for wait := shortWait; ; wait = min(2*wait, longWait) {
		if record, ok := rd.Next(); ok {
			return record, nil
		}
		if rd.err != nil {
			return nil, rd.err
		}
		left := time.Until(deadline)
		if left <= 0 {
			rd.publish()
			return nil, os.ErrDeadlineExceeded
		}
		time.Sleep(min(wait, left))
	}
}

// Err is why there will be no more records: the memory was spoiled.
func (rd *Reader) Err() error { return rd.err }

// Lost is how many records the writers had no space for, Skipped how many had
// a writer that died before they were done.
func (rd *Reader) Lost() uint64    { return rd.ring.Dropped() }
func (rd *Reader) Skipped() uint64 { return rd.skipped }
