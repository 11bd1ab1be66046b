package event

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// ErrEnded is Poll's answer when all has been told that there will be.
var ErrEnded = errors.New("session ended")

// lag is how long a hit may lie in the queue before a waiting consumer is
// woken: waking it at each hit would cost more than the hit.
const lag = 2 * time.Millisecond

// Queue holds events between who tells them, a session's thread, and their
// consumers. It is bounded: the thread never waits, what does not fit is counted
// and told.
type Queue struct {
	// Clock is what Tell takes the time from, ns.
	Clock func() int64

	mu      sync.Mutex
	ring    []Event // grows up to most
	head, n int
	most    int
	missed  uint64
	ended   bool
	wake    chan struct{}
	asleep  atomic.Bool
	total   atomic.Uint64 // missed, ever
}

// NewQueue makes a queue for up to size events; 0: 65536.
func NewQueue(size int) *Queue {
	if size <= 0 {
		size = 1 << 16
	}
	return &Queue{ring: make([]Event, min(size, 256)), most: size, wake: make(chan struct{}, 1)}
}

// grow makes room: what was never needed is not paid for, least of all before an
// attach.
func (q *Queue) grow() {
	ring := make([]Event, max(min(2*q.n, q.most), q.n+64))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// Tell is Put for an event of now, if it has no time yet.
func (q *Queue) Tell(e *Event, urgent bool) {
	if e.Time == 0 {
		e.Time = q.Clock()
	}
	q.Put(e, urgent)
}

// Put adds a copy of e; urgent wakes the consumer at once. A stop is never
// dropped, for nobody would let the task go on; there can't be many.
func (q *Queue) Put(e *Event, urgent bool) {
	q.mu.Lock()
	if q.n >= q.most && e.Kind != Stopped {
		q.missed++
		q.total.Add(1)
	} else {
		if q.n == len(q.ring) {
			q.grow()
		}
		q.ring[(q.head+q.n)%len(q.ring)] = *e
		q.n++
	}
	urgent = urgent || q.n == q.most/2
	q.mu.Unlock()
	if urgent {
		q.notify()
	}
}

// Total is how many events were missed, ever.
func (q *Queue) Total() uint64 { return q.total.Load() }

func (q *Queue) notify() {
	if q.asleep.Load() {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// End says that there will be no more.
func (q *Queue) End() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// get takes the oldest event.
func (q *Queue) get() (e Event, ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.n > 0:
		e = q.ring[q.head]
		q.ring[q.head].Strings = nil
		q.head, q.n = (q.head+1)%len(q.ring), q.n-1
	case q.missed > 0: // told where the gap is: behind what was kept
		e, q.missed = Event{Kind: Missed, Count: q.missed}, 0
	default:
		return e, false, q.ended
	}
	return e, true, false
}

// Next takes the oldest event, if there is one.
func (q *Queue) Next() (Event, bool) {
	e, ok, _ := q.get()
	return e, ok
}

// Poll waits for the oldest event and takes it. Behind the last one the error is
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
		timer := time.NewTimer(lag)
		select {
		case <-q.wake:
		case <-timer.C: // hits come without a wake-up
		case <-ctx.Done():
			timer.Stop()
			return Event{}, ctx.Err()
		}
		timer.Stop()
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
