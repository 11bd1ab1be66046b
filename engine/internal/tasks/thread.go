package tasks

import (
	"fmt"
	"runtime"

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
	s.bell, s.requests.ring = bell, bell.Ring
	loud := ptrace.QuietStops()
	ready <- nil
	defer func() { // also where a function of the tracer's ends the goroutine (runtime.Goexit)
		fell := s.closeFailed(recover())
		s.bell.Close()
		loud()
		s.d.End(fell)
	}()
	s.loop()
	s.requests.close()
	s.d.Closed()
}

// Do runs f on the session's thread and waits for it. It fails once the
// session has ended.
func (s *Set) Do(f func() error) error { return s.requests.do(f) }
