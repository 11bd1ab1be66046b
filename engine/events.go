package engine

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/engine/event"
)

// ErrEnded is Poll's answer when the session is over and all has been told.
var ErrEnded = errors.New("session ended")

// lag is how long a hit may lie in the queue before a waiting consumer is
// woken: waking it at each hit would cost more than the hit.
const lag = 2 * time.Millisecond

// queue holds events between the session's thread and its consumers. It is
// bounded: the thread never waits, what does not fit is counted and told.
type queue struct {
	mu      sync.Mutex
	ring    []event.Event // grows up to most
	head, n int
	most    int
	missed  uint64
	ended   bool
	wake    chan struct{}
	asleep  atomic.Bool
	total   atomic.Uint64 // missed, ever
}

func newQueue(size int) *queue {
	if size <= 0 {
		size = 1 << 16
	}
	return &queue{ring: make([]event.Event, min(size, 256)), most: size, wake: make(chan struct{}, 1)}
}

// grow makes room: what was never needed is not paid for, least of all before an
// attach.
func (q *queue) grow() {
	ring := make([]event.Event, min(2*len(q.ring), q.most))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// put adds a copy of e; urgent wakes the consumer at once.
func (q *queue) put(e *event.Event, urgent bool) {
	q.mu.Lock()
	if q.n == len(q.ring) && q.n < q.most {
		q.grow()
	}
	if q.n == len(q.ring) {
		q.missed++
		q.total.Add(1)
	} else {
		q.ring[(q.head+q.n)%len(q.ring)] = *e
		q.n++
	}
	urgent = urgent || q.n == q.most/2
	q.mu.Unlock()
	if urgent {
		q.notify()
	}
}

func (q *queue) notify() {
	if q.asleep.Load() {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

func (q *queue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// get takes the oldest event.
func (q *queue) get() (e event.Event, ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.n > 0:
		e = q.ring[q.head]
		q.ring[q.head].Strings = nil
		q.head, q.n = (q.head+1)%len(q.ring), q.n-1
	case q.missed > 0: // told where the gap is: behind what was kept
		e, q.missed = event.Event{Kind: event.Missed, Count: q.missed}, 0
	default:
		return e, false, q.ended
	}
	return e, true, false
}

// Poll implements Session.
func (q *queue) Poll(ctx context.Context) (event.Event, error) {
	for {
		if e, ok, ended := q.get(); ok {
			return e, nil
		} else if ended {
			q.end() // for the next caller
			return event.Event{}, ErrEnded
		}
		q.asleep.Store(true)
		timer := time.NewTimer(lag)
		select {
		case <-q.wake:
		case <-timer.C: // hits come without a wake-up
		case <-ctx.Done():
			timer.Stop()
			return event.Event{}, ctx.Err()
		}
		timer.Stop()
		q.asleep.Store(false)
	}
}

// Events implements Session.
func (q *queue) Events(ctx context.Context) iter.Seq[event.Event] {
	return func(yield func(event.Event) bool) {
		for {
			e, err := q.Poll(ctx)
			if err != nil || !yield(e) {
				return
			}
		}
	}
}
