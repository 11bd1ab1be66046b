package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/aside"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hit"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inferior"
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
)

// Errors of a session; those of the kernel come as *ptrace.Error inside.
var (
	ErrGone       = ptrace.ErrGone // the task or process has ended
	ErrNotStopped = tasks.ErrNotStopped
	ErrNoProcess  = errors.New("no such process in this session")
	ErrNoProbe    = errors.New("no such probe")
	ErrSeccomp    = remote.ErrSeccomp
	ErrDispatch   = remote.ErrDispatch
	ErrDebug      = watch.ErrDebug
	ErrAside      = aside.ErrAside
	ErrEnded      = tasks.ErrEnded  // the session is over
	ErrFailed     = tasks.ErrFailed // it could not go on; it is an ErrEnded, too
)

// session is the local Session. Its fields belong to the session's thread; each part below is
// the state of one subject, whose functions alone change it.
type session struct {
	*event.Queue
	opts     Options
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

	done chan struct{}
}

func newSession(opts []Options) (*session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	s := &session{isa: hostISA(), done: make(chan struct{})}
	if len(opts) == 1 {
		s.opts = opts[0]
	}
	s.wire()
	ready := make(chan error)
	go s.loop.Run(ready)
	return s, <-ready
}

// Stray implements tasks.Decider: a stop of a process that is lent to another tracer, and is a
// child of this one still.
func (s *session) Stray(stop ptrace.Stop) bool {
	return s.aside.Stray(stop)
}

// Idle implements tasks.Decider.
func (s *session) Idle() {
	s.aside.TakeLate()
	s.guard.Settle()
}

// Orphan implements tasks.Decider.
func (s *session) Orphan(task int) { s.life.Orphan(task) }

// Exiting implements tasks.Decider.
func (s *session) Exiting(t *inferior.Task) error { return s.life.OnExiting(t) }

// Continue implements tasks.Decider.
func (s *session) Continue(t *inferior.Task, signal ptrace.Signo) error {
	return s.guard.Continue(t, signal)
}

// Warn implements tasks.Decider.
func (s *session) Warn(p *inferior.Process, format string, args ...any) { s.warn(p, format, args...) }

// Failed implements tasks.Decider.
func (s *session) Failed(why error) {
	s.tell(&event.Event{Kind: event.Failed, Text: why.Error()}, true)
}

// Closed implements tasks.Decider.
func (s *session) Closed() { s.plant.KeepCounts() }

// End implements tasks.Decider: what is left to do behind the last process.
func (s *session) End(fell bool) {
	if s.objects.Past == nil {
		_ = s.objects.Cache.Close() // else symbols are still to be read: the files close themselves
	}
	s.uprobe.Wait()
	s.resident.EndStore()
	s.Queue.End()
	if !fell {
		close(s.done)
		return
	}
	tid := ptrace.ThreadID()
	go func() {
		for ptrace.HasThread(tid) {
			time.Sleep(time.Millisecond)
		}
		close(s.done)
	}()
}

func (s *session) tell(e *event.Event, urgent bool) { s.Tell(e, urgent) }

func (s *session) warn(p *inferior.Process, format string, args ...any) {
	e := event.Event{Kind: event.Warning, Text: fmt.Sprintf(format, args...)}
	if p != nil {
		e.PID = p.PID
	}
	s.tell(&e, false)
}

// now is ptrace.Now.
func now() int64 { return ptrace.Now() }

// Now is the time that events are told with: CLOCK_MONOTONIC, in ns.
func Now() int64 { return ptrace.Now() }

// Wall is the time of day at an event's Time.
func Wall(ns int64) time.Time { return ptrace.Wall(ns) }

// ISA implements Session.
func (s *session) ISA() arch.ISA { return s.isa }

// Done implements Session.
func (s *session) Done() <-chan struct{} { return s.done }

// Processes implements Session.
func (s *session) Processes() (pids []int) {
	_ = s.loop.Do(func() error {
		for pid, p := range s.loop.Procs {
			if !p.Silent {
				pids = append(pids, pid)
			}
		}
		for pid := range s.life.Lent {
			pids = append(pids, pid)
		}
		return nil
	})
	return pids
}

// Exit implements Session.
func (s *session) Exit(pid int) (e Exit, ok bool) {
	get := func() error { e, ok = s.life.Exits[pid]; return nil }
	if errors.Is(s.loop.Do(get), ErrEnded) {
		<-s.done // the loop has let go of its fields
		_ = get()
	}
	return e, ok
}

// Stats implements Session.
func (s *session) Stats() Stats {
	return Stats{Stops: s.loop.Stops.Load(), Hits: s.hit.Stopped.Load(),
		Missed: s.Queue.Total(), Pause: s.loop.Pause(), Uncounted: s.uncounted()}
}

func (s *session) process(pid int) (*inferior.Process, error) {
	if p := s.loop.Procs[pid]; p != nil && !p.Silent {
		return p, nil
	}
	if s.life.Lent[pid] {
		return nil, fmt.Errorf("process %d: %w", pid, aside.ErrAside)
	}
	return nil, fmt.Errorf("%d: %w", pid, ErrNoProcess)
}
