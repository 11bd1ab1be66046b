package tasks

import (
	"slices"
	"sync"
	"sync/atomic"
)

// requests is the queue of requests to the session's thread: the only way in from other
// goroutines.
type requests struct {
	ring func() // wakes the thread

	mu      sync.Mutex
	list    []*request
	rung    bool
	closed  bool
	failure error // why the thread has ended, where that is not its processes' end

	asked   atomic.Bool // there are requests
	running []*request  // that the thread has taken out of the list; the thread's own
}

// request is a request on its way to the session's thread and back.
type request struct {
	f    func() error
	err  error
	done chan struct{}
}

// do has the thread run f, and waits for it.
func (q *requests) do(f func() error) error {
	r := &request{f: f, done: make(chan struct{})}
	q.mu.Lock()
	if q.closed {
		defer q.mu.Unlock()
		return q.ended()
	}
	q.list = append(q.list, r)
	ring := !q.rung
	q.rung = true
	q.asked.Store(true)
	if ring { // under the lock: the bell's process is not gone before closed is set
		q.ring()
	}
	q.mu.Unlock()
	<-r.done
	return r.err
}

// obey runs what is in the queue, and what comes meanwhile.
func (q *requests) obey() {
	for {
		q.mu.Lock()
		list := q.list
		q.list, q.rung = nil, false
		q.asked.Store(false)
		q.mu.Unlock()
		if len(list) == 0 {
			return
		}
		q.running = append(q.running, list...)
		for _, r := range list {
			r.err = r.f()
			close(r.done)
			q.running = slices.DeleteFunc(q.running, func(x *request) bool { return x == r })
		}
	}
}

// close refuses further requests; those already in the queue are run.
func (q *requests) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.obey()
}

// isClosed reports whether the queue has been closed.
func (q *requests) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// refuse answers all requests, also those that had begun, with what has ended the session.
func (q *requests) refuse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, r := range append(q.running, q.list...) {
		r.err = q.ended()
		close(r.done)
	}
	q.running, q.list = nil, nil
}

// ended is the answer to a request behind the session's end.
func (q *requests) ended() error {
	if q.failure != nil {
		return q.failure
	}
	return ErrEnded
}
