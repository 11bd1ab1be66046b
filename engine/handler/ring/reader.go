package ring

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Reader takes the records out of a ring. A ring has one at a time, and one goroutine uses it. Its
// methods do not allocate, and make no system call while there are records.
type Reader struct {
	ring  *Ring
	alive func(tid int) bool
	pos   uint64 // of the record returned last, or of the next one
	given uint64 // the span of the record returned last, 0: none
	freed uint64 // the position up to which writers know that space is free

	stuck   uint64 // the busy header at pos
	since   time.Time
	skipped uint64
	err     error

	// far tells the process that releases space for this reader how far records have been read, and
	// returns how far it has released, which is stored in back; nil: this reader releases space
	// itself.
	far  func(pos uint64) uint64
	back uint64
}

// patience is how long a record may be busy before the reader checks that its writer is alive.
const patience = 10 * time.Millisecond

// NewReader continues where the last reader of the ring stopped; the record that that reader got
// last may be returned again. alive reports whether a thread may still be writing.
func NewReader(r *Ring, alive func(tid int) bool) *Reader {
	rd := &Reader{ring: r, alive: alive, pos: r.head.Load() &^ 7}
	rd.freed = rd.pos
	all := uint64(len(r.data))
	for rd.pos-rd.freed < all && r.word(rd.pos).Load() == r.tag(rd.pos+all) {
		rd.pos += 8 // released, but the writers were not told
	}
	return rd
}

// NewFarReader reads a ring that it can't write. From time to time it calls take with the position
// up to which records have been read. take returns the position up to which their space has been
// released, by Reader.Take in a process that can write. That position may be further, behind
// records that a dead writer has left, and is 0 if there is no such process any more.
func NewFarReader(r *Ring, take func(pos uint64) uint64) *Reader {
	rd := &Reader{ring: r, far: take}
	rd.askFar()
	return rd
}

// Take releases the space of the records before pos, which another process has read, and returns
// the position up to which all space has been released.
func (rd *Reader) Take(pos uint64) uint64 {
	for rd.pos+rd.given < pos {
		if _, ok := rd.Next(); !ok {
			break
		}
	}
	if rd.pos+rd.given <= pos {
		rd.Next() // releases space, and skips what a dead writer has left
	}
	rd.given = 0 // the record at pos has not been read
	rd.publish()
	return rd.pos
}

// Next returns the next record, false if there is none yet. The record is valid until the next
// call. Its writer may still change it: the caller copies what must not change first.
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
				r.tail.CompareAndSwap(rd.pos, rd.pos+n) // its writer may have died before this
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

// dead reports whether a busy record's writer has ended.
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
		return false // the writer finished in time
	}
	rd.skipped++
	rd.stuck = 0
	return true
}

// release releases the space of the record returned last. It writes the header last, so that a
// later reader can tell whether all space was released.
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

// store stores with release order. Go's atomic store is an exchange on amd64, ten times as
// expensive, since it also orders later loads, which is not needed here. A plain store on amd64 is
// seen after all stores before it.
func store(at *atomic.Uint64, v uint64) {
	if runtime.GOARCH == "amd64" {
		*(*uint64)(unsafe.Pointer(at)) = v
		return
	}
	at.Store(v)
}

// publish tells the writers how much space is free. The reader does not call it for each record,
// since the writers would have to fetch the word again each time.
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

// publishNear is publish without a request to another process. It is called when the reader has
// caught up, which may be at each record.
func (rd *Reader) publishNear() {
	if rd.far == nil {
		rd.publish()
	}
}

// askFar reports how far this reader has read, and continues where the space has been released
// further.
func (rd *Reader) askFar() {
	rd.back = max(rd.back, rd.far(rd.pos))
	rd.pos = max(rd.pos, rd.back)
	rd.freed = rd.pos
}

// mayBeMore returns false if the reader has read as much as the ring can hold since space was
// released: the words here are the first of that.
func (rd *Reader) mayBeMore() bool {
	all := uint64(len(rd.ring.data))
	if rd.pos-rd.back >= all {
		rd.askFar()
	}
	return rd.pos-rd.back < all
}

// Pauses of Read while there is nothing to read.
const (
	shortWait = 50 * time.Microsecond
	longWait  = 5 * time.Millisecond
)

// Read returns the next record like Next, and waits for one until the deadline; then it returns
// os.ErrDeadlineExceeded. Other errors are about corrupt memory.
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

// Err returns why there will be no more records: the memory is corrupt.
func (rd *Reader) Err() error { return rd.err }

// Lost is how many records found no space, Skipped how many had a writer that died before they were
// complete.
func (rd *Reader) Lost() uint64    { return rd.ring.Dropped() }
func (rd *Reader) Skipped() uint64 { return rd.skipped }
