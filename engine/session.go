package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/symbols"
)

// Errors of a session, for errors.Is. What can't be done at all, by ptracer, this CPU or this
// kernel, is an errors.ErrUnsupported.
var (
	ErrGone         = ptrace.ErrGone         // the task or process has ended
	ErrNotPermitted = ptrace.ErrNotPermitted // it is fs.ErrPermission
	ErrNotMapped    = ptrace.ErrNotMapped    // there is no memory at that address
	ErrNotStopped   = tasks.ErrNotStopped
	ErrNoProcess    = errors.New("no such process in this session")
	ErrNoProbe      = errors.New("no such probe")
	ErrEnded        = tasks.ErrEnded  // the session is over
	ErrFailed       = tasks.ErrFailed // it could not go on; it is an ErrEnded, too

	ErrBusy, ErrJobStop, ErrWaiting = tasks.ErrBusy, tasks.ErrJobStop, tasks.ErrWaiting // a task does not stop, or step
	ErrSeccomp, ErrDispatch         = remote.ErrSeccomp, remote.ErrDispatch
)

// Types of errors, for errors.As; AttachError is another.
type (
	RequestError = ptrace.Error        // a request of ptrace(2) that the kernel has refused
	MemoryError  = ptrace.MemoryError  // an access to a process's memory that has failed
	Unsupported  = failure.Unsupported // what can't be done, and what it would take
)

// session is the local Session. Its fields belong to the session's thread; each part below is
// the state of one subject, whose functions alone change it.
type session struct {
	*event.Queue
	opts   Options
	isa    arch.ISA
	loop   *tasks.Set
	remote *remote.Caller
	guard  *guard.Guard
	xol    *xol.XOL

	lives
	planted
	jumps
	shared
	hits
	loans
	stays

	done chan struct{}
}

// lives is what is known of processes that come and go.
type lives struct {
	exits   map[int]Exit
	started map[int]bool
	cache   symbols.Cache
	calls   map[*symbols.File][][]arch.Addr // found in a file, of each of watchedCalls
	past    map[int][]*symbols.Module       // objects of processes that were, while handlers may ask for them
	// beginning: the objects that are found now have run no code yet.
	beginning bool
}

// planted are the probes, and where they are.
type planted struct {
	probes   []*probe // by id-1
	spaces   int      // how many have a number
	watches  watches
	ifuncs   map[ifuncKey]*ifunc
	gates    map[*inferior.Process][]gate // that are being made
	cut      []*kernel.Link               // see unlink
	closing  sync.WaitGroup               // of those that are being taken away
	nextLook int64                        // when it may be looked for lost patches again
}

// jumps are the sites that are traps, and may be jumps later.
type jumps struct {
	near    map[*inferior.Process][]*breakpoint.Site // that have made room for others, just now
	crowded map[*inferior.Process][]*breakpoint.Site // that have, and are traps as long as those are there
}

// shared is what handlers and counters behind jumps find in the processes.
type shared struct {
	counters  []*handler.Counters // of hits behind jumps
	spare     []*tally            // of these, those that are not used any more
	regions   map[*inferior.Space][]region
	unshared  map[*inferior.Space]error // why there can't be any
	libraries map[*inferior.Space][]*library
	newTasks  int    // that came when few lines were left
	lostHits  uint64 // that are in no count, at the session's end
	lastSeal  struct {
		of   *inferior.Process
		at   time.Time
		mode int
	}
}

// hits is what serves a hit that stops.
type hits struct {
	machine interp.Machine // runs handlers
	env     env
	shown   taskHit // to the Func that is running
	stopped atomic.Uint64
}

// loans are processes that other tracers have for a while.
type loans struct {
	away      map[int]*away
	returning bool             // a process from another tracer, at present
	late      []*inferior.Task // that are kept from a call until no request is in progress
	// wentAside: there may be forked children, made while nothing traced them, that count on.
	wentAside bool
}

// stays is what is known of resident probes.
type stays struct {
	store   *resident.Store // of those of this session, or nil
	left    bool            // they have been left
	collect bool            // they are to be taken away where they are found
	cleaned bool            // what others have left was found
}

func newSession(opts []Options) (*session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	s := &session{isa: hostISA(), done: make(chan struct{}),
		lives: lives{exits: map[int]Exit{}, started: map[int]bool{}, calls: map[*symbols.File][][]arch.Addr{}},
		jumps: jumps{near: map[*inferior.Process][]*breakpoint.Site{}, crowded: map[*inferior.Process][]*breakpoint.Site{}},
		shared: shared{regions: map[*inferior.Space][]region{}, unshared: map[*inferior.Space]error{},
			libraries: map[*inferior.Space][]*library{}},
		loans: loans{away: map[int]*away{}},
	}
	s.gates = map[*inferior.Process][]gate{}
	s.loop = tasks.New(s)
	s.remote = remote.New(s.loop, s.isa)
	s.guard = guard.New(s.loop, s.remote)
	s.xol = xol.New(s.loop, s.guard, s.isa)
	if len(opts) == 1 {
		s.opts = opts[0]
	}
	s.Queue = event.NewQueue(s.opts.Buffer)
	ready := make(chan error)
	go s.loop.Run(ready)
	return s, <-ready
}

// Stray implements tasks.Decider: a stop of a process that is lent to another tracer, and is a
// child of this one still.
func (s *session) Stray(stop ptrace.Stop) bool {
	a := s.away[stop.Task]
	if a != nil {
		s.onAway(a, stop)
	}
	return a != nil
}

// Idle implements tasks.Decider.
func (s *session) Idle() {
	s.takeLate()
	s.guard.Settle()
}

// Exiting implements tasks.Decider.
func (s *session) Exiting(t *inferior.Task) error { return s.onExiting(t) }

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
func (s *session) Closed() { s.keepCounts() }

// End implements tasks.Decider: what is left to do behind the last process.
func (s *session) End(fell bool) {
	if s.past == nil {
		_ = s.cache.Close() // else symbols are still to be read: the files close themselves
	}
	s.closing.Wait()
	s.endStore()
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

func (s *session) tell(e *event.Event, urgent bool) {
	if e.Time == 0 {
		e.Time = now()
	}
	s.Put(e, urgent)
}

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
		for pid := range s.away {
			pids = append(pids, pid)
		}
		return nil
	})
	return pids
}

// Exit implements Session.
func (s *session) Exit(pid int) (e Exit, ok bool) {
	get := func() error { e, ok = s.exits[pid]; return nil }
	if errors.Is(s.loop.Do(get), ErrEnded) {
		<-s.done // the loop has let go of its fields
		_ = get()
	}
	return e, ok
}

// Stats implements Session.
func (s *session) Stats() Stats {
	return Stats{Stops: s.loop.Stops.Load(), Hits: s.stopped.Load(),
		Missed: s.Queue.Total(), Pause: s.loop.Pause(), Uncounted: s.uncounted()}
}

func (s *session) process(pid int) (*inferior.Process, error) {
	if p := s.loop.Procs[pid]; p != nil && !p.Silent {
		return p, nil
	}
	if s.away[pid] != nil {
		return nil, fmt.Errorf("process %d: %w", pid, ErrAside)
	}
	return nil, fmt.Errorf("%d: %w", pid, ErrNoProcess)
}
