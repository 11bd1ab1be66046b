package engine

import (
	"errors"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/aside"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hit"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/life"
	"github.com/ptracer/ptracer/engine/internal/objects"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/failure"
)

// Errors of a session, for errors.Is. What can't be done at all, by ptracer, this CPU or this
// kernel, is an errors.ErrUnsupported.
var (
	ErrGone         = ptrace.ErrGone         // the task or process has ended
	ErrNotPermitted = ptrace.ErrNotPermitted // it is fs.ErrPermission
	ErrNotMapped    = ptrace.ErrNotMapped    // there is no memory at that address
	ErrNotStopped   = tasks.ErrNotStopped
	ErrBusy         = tasks.ErrBusy    // the task does not stop
	ErrJobStop      = tasks.ErrJobStop // job control keeps it from a step
	ErrWaiting      = tasks.ErrWaiting // so does what it waits for
	ErrNoProcess    = errors.New("no such process in this session")
	ErrNoProbe      = errors.New("no such probe")
	ErrSeccomp      = remote.ErrSeccomp
	ErrDispatch     = remote.ErrDispatch
	ErrDebug        = watch.ErrDebug
	ErrAside        = aside.ErrAside
	ErrEnded        = tasks.ErrEnded  // the session is over
	ErrFailed       = tasks.ErrFailed // the session could not go on; it is an ErrEnded, too
)

// Types of errors, for errors.As; AttachError is another.
type (
	RequestError = ptrace.Error        // a request of ptrace(2) that the kernel has refused
	MemoryError  = ptrace.MemoryError  // an access to a process's memory that has failed
	Unsupported  = failure.Unsupported // what can't be done, and what it would take
)

// session is the local Session. Its fields belong to the session's thread. Each room has the state
// of one subject, which only its own functions change.
type session struct {
	*event.Queue
	opts     SharedOptions
	isa      arch.ISA
	loop     *tasks.Set
	remote   *remote.Caller
	guard    *guard.Guard
	xol      *xol.XOL
	inproc   *inproc.InProcess
	jump     *jump.Jumps
	watch    *watch.Registers
	uprobe   *uprobe.Links
	hook     *hook.Hooks
	plant    *plant.Planter
	hit      *hit.Hits
	life     *life.Life
	objects  *objects.Objects
	clean    *clean.Cleaner
	aside    *aside.Aside
	resident *resident.Stays

	done chan struct{} // closed when the session has ended
}

func newSession(opts []Options) (*session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	var o SharedOptions
	if len(opts) == 1 {
		o.Options = opts[0]
	}
	return newShared(o)
}

// now returns Now.
func now() int64 { return ptrace.Now() }

// Now returns the time of events: CLOCK_MONOTONIC, in ns.
func Now() int64 { return ptrace.Now() }

// Wall returns the time of day at an event's Time, in ns.
func Wall(ns int64) time.Time { return ptrace.Wall(ns) }

// ISA implements Session.
func (s *session) ISA() arch.ISA { return s.isa }

// Done implements Session.
func (s *session) Done() <-chan struct{} { return s.done }

// Stats implements Session.
func (s *session) Stats() Stats {
	stats := Stats{Stops: s.loop.Stops.Load(), Hits: s.hit.Stopped.Load(), Missed: s.Queue.Total(), Pause: s.loop.Pause()}
	s.look(func() { stats.Uncounted = s.inproc.Lost() })
	return stats
}
