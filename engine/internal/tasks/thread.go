package tasks

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Run is the session's thread. It is never unlocked: the thread ends with the
// session, and nothing of it is inherited by other goroutines. Children that
// the host program started on a thread, and in time those of threads that end,
// would be told to a session there: it must be another.
func (s *Set) Run(ready chan<- error) {
	runtime.LockOSThread()
	if !ptrace.Childless() {
		go s.Run(ready)
		<-s.placed // until then, the other can't be given this thread
		runtime.UnlockOSThread()
		return
	}
	close(s.placed)
	bell, err := ptrace.NewBell()
	if err != nil {
		ready <- fmt.Errorf("start session: %w", access.ExplainOwn(err))
		return
	}
	s.bell = bell
	loud := ptrace.QuietStops()
	ready <- nil
	defer func() { // also where a function of the tracer's ends the goroutine (runtime.Goexit)
		fell := s.closeFailed(recover())
		s.bell.Close()
		loud()
		s.d.End(fell)
	}()
	s.loop()
	s.close()
}

// request is a request on its way to the session's thread and back.
type request struct {
	f    func() error
	err  error
	done chan struct{}
}

// Do runs f on the session's thread and waits for it. It fails once the
// session has ended.
func (s *Set) Do(f func() error) error {
	c := &request{f: f, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		defer s.mu.Unlock()
		return s.ended()
	}
	s.queue = append(s.queue, c)
	ring := !s.rung
	s.rung = true
	s.asked.Store(true)
	if ring { // under the lock: the bell's process is not gone before closed is set
		s.bell.Ring()
	}
	s.mu.Unlock()
	<-c.done
	return c.err
}

// obey runs what has been queued, and what is queued meanwhile.
func (s *Set) obey() {
	for {
		s.mu.Lock()
		commands := s.queue
		s.queue, s.rung = nil, false
		s.asked.Store(false)
		s.mu.Unlock()
		if len(commands) == 0 {
			return
		}
		s.running = append(s.running, commands...)
		for _, c := range commands {
			c.err = c.f()
			close(c.done)
			s.running = slices.DeleteFunc(s.running, func(r *request) bool { return r == c })
		}
	}
}

// close refuses further commands; those already queued are run.
func (s *Set) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.obey()
	s.d.Closed()
}
