package tasks

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/procfs"
)

// A session fails where its thread can't go on: a task does not come back from a step or a
// system call of the session's, or there is a bug (a panic). It ends then as though the
// tracer had been killed: nothing more is asked of any task, and the end of the thread
// frees them all. This does no harm, for each step of the engine is one after which the
// tracer may die; the guard serves the traps that are left, and the next tracer of the process cleans up.
// Other sessions go on.

// ErrFailed is returned for requests of a session that could not go on. It is an ErrEnded, too.
var ErrFailed = fmt.Errorf("%w before its time; its processes go on without its probes", ErrEnded)

// failed is what ends the session's thread, from wherever that is.
type failed struct{ why error }

// Fail ends the session. It does not return.
func (s *Set) Fail(why error) { panic(failed{why}) }

// closeFailed is close of a session that has failed; it reports whether it has. Its
// argument is what was recovered: nil where nothing was.
func (s *Set) closeFailed(x any) bool {
	q := &s.requests
	switch f, is := x.(failed); {
	case is:
		q.failure = fmt.Errorf("%w: %w", ErrFailed, f.why)
	case x != nil:
		_ = printable.Printf(os.Stderr, "ptracer: bug: %v", x)
		_, _ = os.Stderr.Write(debug.Stack())
		q.failure = fmt.Errorf("%w: a bug in ptracer: %v", ErrFailed, x)
	case !q.isClosed():
		q.failure = fmt.Errorf("%w: a probe's function has ended the goroutine that ran it", ErrFailed)
	default:
		return false
	}
	s.d.Failed(q.failure)
	q.refuse()
	s.d.Closed()
	return true
}

// Limits of a wait for one task. What such a wait is for takes some microseconds; on a busy
// machine, or where a control group's share of the CPU is used up, a task that could run does not.
const (
	slowAfter = 2 * time.Second  // a tracer is told
	stuckIdle = 10 * time.Second // a task that sleeps in the kernel, or is frozen
	stuckBusy = 60 * time.Second // one that could run
)

// watchdog ends a wait for one task that takes too long.
type watchdog struct {
	s     *Set
	t     *inferior.Task
	begun time.Time // the zero time: it has just begun
	told  bool
}

// look is for now and then during the wait.
func (w *watchdog) look() {
	if w.begun.IsZero() {
		w.begun = time.Now()
	}
	took := time.Since(w.begun)
	if took < w.s.limit(slowAfter) {
		return
	}
	state := procfs.State(w.t.TID)
	if !w.told {
		w.told = true
		w.s.d.Warn(w.t.Process, "%s; the other tasks of the session wait for it", w.text(took, state))
	}
	if most := w.s.limit(stuckIdle); took > most && (state != 'R' || took > most*stuckBusy/stuckIdle) {
		w.s.Fail(errors.New(w.text(took, state)))
	}
}

// limit is one of the limits above, or what a test has in its place.
func (s *Set) limit(d time.Duration) time.Duration {
	if s.Hurry > 0 {
		return d / time.Duration(s.Hurry)
	}
	return d
}

// text says what is waited for, and why it does not come.
func (w *watchdog) text(took time.Duration, state byte) string {
	doing := "is in state " + string(state)
	if state == 'R' {
		doing = "gets no CPU time"
	}
	if wchan := string(procfs.Read(w.t.TID, "wchan", make([]byte, 64))); wchan != "" && wchan != "0" {
		doing += ", in the kernel's " + wchan
	}
	return fmt.Sprintf("task %d has not come back from a step or a system call of ptracer's for %v: it %s",
		w.t.TID, took.Round(100*time.Millisecond), doing)
}
