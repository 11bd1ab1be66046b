package job

import (
	"errors"
	"os"
	"sync"
	"time"
)

// Readers read the records of a job's handlers, each on a goroutine of its own.
type Readers struct {
	take func(h *Handling, i int, rec []byte)
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
}

// NewReaders are readers that give each record to take, one at a time.
func NewReaders(take func(*Handling, int, []byte)) *Readers {
	return &Readers{take: take, stop: make(chan struct{})}
}

// With runs f while no record is taken.
func (r *Readers) With(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// Begin starts a goroutine for each handler that has records.
func (r *Readers) Begin(h *Handling) {
	for i, x := range h.Handlers {
		if x.Info().Records {
			r.wg.Go(func() { r.read(h, i) })
		}
	}
}

// read reads to the end: what is there when the job is over, too.
func (r *Readers) read(h *Handling, i int) {
	x := h.Handlers[i]
	for {
		rec, err := x.Read(time.Now().Add(Latency))
		switch {
		case err == nil:
			r.With(func() { r.take(h, i, rec) })
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			select {
			case <-r.stop:
				return
			default:
			}
		}
	}
}

// End waits until all has been read.
func (r *Readers) End() {
	close(r.stop)
	r.wg.Wait()
}

// Latency is how long a line may lie in a buffer.
const Latency = 50 * time.Millisecond
