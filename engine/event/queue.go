package event

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// ErrEnded is returned by Poll when there will be no more events.
var ErrEnded = errors.New("session ended")

// lag is how long a hit may wait in the queue before a waiting consumer wakes up: to wake it at
// each hit would cost more than the hit.
const lag = 2 * time.Millisecond

// Queue passes events from their producer, a session's thread, to their consumers. It is bounded
// and the thread never waits: events that do not fit are counted, and reported as Dropped.
type Queue struct {
	// Clock returns the time for Tell, in ns.
	Clock func() int64

	mu      sync.Mutex
	ring    []entry // grows up to most
	head, n int
	most    int
	dropped uint64
	ended   bool
	wake    chan struct{}
	asleep  atomic.Bool
	total   atomic.Uint64 // dropped in all
}

// entry is an event in the ring, with room for a hit: a Hit is copied into it, so that a producer
// uses one Hit for all hits.
type entry struct {
	Event     // of a hit: Body is inEntry
	hit   Hit // of a hit: what has happened
}

// EntrySize is how much memory a waiting event takes in the ring, in bytes.
const EntrySize = int(unsafe.Sizeof(entry{}))

// inEntry stands for the body of a hit that lies in an entry.
var inEntry = (*Hit)(nil)

// set puts an event into the entry.
func (x *entry) set(e *Event) {
	x.Event = *e
	if h, ok := e.Body.(*Hit); ok {
		x.hit, x.Body = *h, inEntry
	}
}

// event returns the entry's event. A hit gets a Hit of its own.
func (x *entry) event() Event {
	e := x.Event
	if e.Body == inEntry {
		h := x.hit
		e.Body = &h
	}
	return e
}

// clear drops what the garbage collector would keep for an event that has left the ring.
func (x *entry) clear() { x.Body, x.hit.Location, x.hit.Strings = nil, "", nil }

// NewQueue makes a queue for up to size events; 0: 65536.
func NewQueue(size int) *Queue {
	if size <= 0 {
		size = 1 << 16
	}
	return &Queue{ring: make([]entry, min(size, 256)), most: size, wake: make(chan struct{}, 1)}
}

// grow makes room. Space that is never needed costs nothing, in particular not before an attach.
func (q *Queue) grow() {
	ring := make([]entry, max(min(2*q.n, q.most), q.n+64))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// Tell is Put for an event that gets the present time if it has none.
func (q *Queue) Tell(e *Event, urgent bool) {
	if e.Time == 0 {
		e.Time = q.Clock()
	}
	q.Put(e, urgent)
}

// Put adds a copy of e; if urgent is set the consumer wakes up at once. A Hit is copied, too. Any
// other body is the consumer's from now on: the producer does not change it any more. A stop is
// never dropped, since no consumer would resume the task; there can't be many stops.
func (q *Queue) Put(e *Event, urgent bool) {
	_, stop := e.Body.(*Stopped)
	q.mu.Lock()
	if q.n >= q.most && !stop {
		q.dropped++
		q.total.Add(1)
	} else {
		if q.n == len(q.ring) {
			q.grow()
		}
		q.ring[(q.head+q.n)%len(q.ring)].set(e)
		q.n++
	}
	urgent = urgent || q.n == q.most/2
	q.mu.Unlock()
	if urgent {
		q.notify()
	}
}

// Total is how many events were dropped in all.
func (q *Queue) Total() uint64 { return q.total.Load() }

func (q *Queue) notify() {
	if q.asleep.Load() {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// End says that there will be no more events.
func (q *Queue) End() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// get removes and returns the oldest event.
func (q *Queue) get() (e Event, ok, ended bool) {
	var x entry
	if ok, ended = q.remove(&x); ok {
		e = x.event() // this allocates: the producer does not wait for it
	}
	return e, ok, ended
}

// remove moves the oldest event out of the ring into x.
func (q *Queue) remove(x *entry) (ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.n > 0:
		*x = q.ring[q.head]
		q.ring[q.head].clear()
		q.head, q.n = (q.head+1)%len(q.ring), q.n-1
	case q.dropped > 0: // reported where the gap is: behind the events that were kept
		x.Body, q.dropped = &Dropped{Count: q.dropped}, 0
	default:
		return false, q.ended
	}
	return true, false
}

// Next removes and returns the oldest event, if there is one.
func (q *Queue) Next() (Event, bool) {
	e, ok, _ := q.get()
	return e, ok
}

// timers are those of consumers that do not wait. A consumer that is faster than its producer waits for
// each event, and takes no memory for that. A timer that is stopped has nothing in its channel.
var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

func free(t *time.Timer) {
	t.Stop()
	timers.Put(t)
}

// Poll waits for the oldest event, removes it and returns it. After the last event it returns
// ErrEnded.
func (q *Queue) Poll(ctx context.Context) (Event, error) {
	for {
		if e, ok, ended := q.get(); ok {
			return e, nil
		} else if ended {
			q.End() // for the next caller
			return Event{}, ErrEnded
		}
		q.asleep.Store(true)
		timer := timers.Get().(*time.Timer)
		timer.Reset(lag)
		select {
		case <-q.wake:
		case <-timer.C: // hits do not wake the consumer
		case <-ctx.Done():
			free(timer)
			return Event{}, ctx.Err()
		}
		free(timer)
		q.asleep.Store(false)
	}
}

// Events iterates over Poll until the end, or until ctx is done.
func (q *Queue) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			e, err := q.Poll(ctx)
			if err != nil || !yield(e) {
				return
			}
		}
	}
}
