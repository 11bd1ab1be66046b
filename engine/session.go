package engine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/symbols"
)

// Errors of a session; those of the kernel come as *ptrace.Error inside.
var (
	ErrGone       = ptrace.ErrGone // the task or process has ended
	ErrNotStopped = errors.New("task is not stopped")
	ErrNoProcess  = errors.New("no such process in this session")
	ErrNoProbe    = errors.New("no such probe")
	ErrEnded      = event.ErrEnded // the session is over
)

// session is the local Session. Fields without a lock belong to the loop.
type session struct {
	*event.Queue
	opts Options
	isa  arch.ISA
	bell *ptrace.Bell

	// Commands to the loop: the only way in from other goroutines.
	mu       sync.Mutex
	commands []*command
	rung     bool
	asked    atomic.Bool // there are commands
	closed   bool
	failure  error // why the session has ended, where that is not its processes' end: see fail

	running  []*command // that the thread has taken out of the queue
	tasks    map[int]*inferior.Task
	procs    map[int]*inferior.Process
	early    map[int]early
	looking  bool          // for orphans among these, later
	ends     []ptrace.Stop // of tasks, seen by stopOf
	hurry    int           // for tests: how much sooner a wait is too long; 0: not at all
	exits    map[int]Exit
	deciding []*inferior.Task // whose stops are being decided, nested
	turn     int              // stops since everybody was asked
	newTasks int              // that came when few lines were left
	written  bool             // something into a space: see settle
	sealed   bool             // we may not suspend seccomp filters
	lastSeal struct {
		of   *inferior.Process
		at   time.Time
		mode int
	}
	noted   *inferior.Task // of whom the guard has been told what it is to have
	started map[int]bool
	away    map[int]*away // processes that others trace, for a while

	probes   []*probe // by id-1
	spaces   int      // how many have a number
	cache    symbols.Cache
	storm    storm
	ending   bool
	calls    map[*symbols.File][][]arch.Addr // found in a file, of each of watchedCalls
	past     map[int][]*symbols.Module       // objects of processes that were, while handlers may ask for them
	machine  interp.Machine                  // runs handlers
	env      env
	cut      []*kernel.Link // see unlink
	closing  sync.WaitGroup // of those that are being taken away
	watches  watches
	ifuncs   map[ifuncKey]*ifunc
	nextLook int64 // when it may be looked for lost patches again
	// beginning: the objects that are found now have run no code yet.
	beginning bool
	shown     taskHit // to the Func that is running

	counters []*handler.Counters // of hits behind jumps
	spare    []*tally            // of these, those that nobody uses any more
	regions  map[*inferior.Space][]region
	unshared map[*inferior.Space]error // why there can't be any

	libraries map[*inferior.Space][]*library
	near      map[*inferior.Process][]*breakpoint.Site // that have made room for others, just now
	gates     map[*inferior.Process][]gate             // that are being made
	returning bool                                     // a process from another tracer, at present
	late      []*inferior.Task                         // that are kept from a call until no request is in progress
	pumping   int                                      // requests that take others' stops
	crowded   map[*inferior.Process][]*breakpoint.Site // that have, and are traps as long as those are there
	standing  []*inferior.Space                        // whose tasks are halted by whileHalted

	store   *resident.Store // of resident probes, or nil
	left    bool            // they have been left
	collect bool            // they are to be taken away where they are found
	cleaned bool            // what others have left was found
	// wentAside: there may be forked children, made while nobody traced, that count
	// on.
	wentAside bool

	stats struct {
		stops, hits atomic.Uint64
		uncounted   uint64 // at the session's end
		pause       atomic.Int64
	}
	placed chan struct{} // closed when run has found its thread
	done   chan struct{}
}

func newSession(opts []Options) (*session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	s := &session{
		isa: hostISA(), tasks: map[int]*inferior.Task{}, procs: map[int]*inferior.Process{},
		early: map[int]early{}, exits: map[int]Exit{}, started: map[int]bool{}, away: map[int]*away{},
		calls: map[*symbols.File][][]arch.Addr{}, regions: map[*inferior.Space][]region{}, unshared: map[*inferior.Space]error{},
		libraries: map[*inferior.Space][]*library{}, near: map[*inferior.Process][]*breakpoint.Site{}, gates: map[*inferior.Process][]gate{}, crowded: map[*inferior.Process][]*breakpoint.Site{},
		placed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	if len(opts) == 1 {
		s.opts = opts[0]
	}
	s.Queue = event.NewQueue(s.opts.Buffer)
	ready := make(chan error)
	go s.run(ready)
	return s, <-ready
}

// run is the session's thread. It is never unlocked: the thread ends with the
// session, and nothing of it is inherited by other goroutines. Children that
// the host program started on a thread, and in time those of threads that end,
// would be told to a session there: it must be another.
func (s *session) run(ready chan<- error) {
	runtime.LockOSThread()
	if !ptrace.Childless() {
		go s.run(ready)
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
		s.end(fell)
	}()
	s.loop()
	s.close()
}

// end is what is left to do behind the last process. The tasks of a session that has
// failed are free when its thread has ended.
func (s *session) end(fell bool) {
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

// command is a request on its way to the session's thread and back.
type command struct {
	f    func() error
	err  error
	done chan struct{}
}

// do runs f on the session's thread and waits for it. It fails once the
// session has ended.
func (s *session) do(f func() error) error {
	c := &command{f: f, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		defer s.mu.Unlock()
		return s.ended()
	}
	s.commands = append(s.commands, c)
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
func (s *session) obey() {
	for {
		s.mu.Lock()
		commands := s.commands
		s.commands, s.rung = nil, false
		s.asked.Store(false)
		s.mu.Unlock()
		if len(commands) == 0 {
			return
		}
		s.running = append(s.running, commands...)
		for _, c := range commands {
			c.err = c.f()
			close(c.done)
			s.running = slices.DeleteFunc(s.running, func(r *command) bool { return r == c })
		}
	}
}

// close refuses further commands; those already queued are run.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.obey()
	s.keepCounts()
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

var epoch = time.Now()

// now is CLOCK_MONOTONIC in ns, by the vdso.
func now() int64 { return bootOffset + int64(time.Since(epoch)) }

var bootOffset = ptrace.Monotonic()

// Now is the time that events are told with: CLOCK_MONOTONIC, in ns.
func Now() int64 { return now() }

// Wall is the time of day at an event's Time.
func Wall(ns int64) time.Time { return epoch.Add(time.Duration(ns - bootOffset)) }

// ISA implements Session.
func (s *session) ISA() arch.ISA { return s.isa }

// Done implements Session.
func (s *session) Done() <-chan struct{} { return s.done }

// Processes implements Session.
func (s *session) Processes() (pids []int) {
	_ = s.do(func() error {
		for pid, p := range s.procs {
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
	if errors.Is(s.do(get), ErrEnded) {
		<-s.done // the loop has let go of its fields
		_ = get()
	}
	return e, ok
}

// Stats implements Session.
func (s *session) Stats() Stats {
	return Stats{Stops: s.stats.stops.Load(), Hits: s.stats.hits.Load(),
		Missed: s.Queue.Total(), Pause: time.Duration(s.stats.pause.Load()), Uncounted: s.uncounted()}
}

func (s *session) process(pid int) (*inferior.Process, error) {
	if p := s.procs[pid]; p != nil && !p.Silent {
		return p, nil
	}
	if s.away[pid] != nil {
		return nil, fmt.Errorf("process %d: %w", pid, ErrAside)
	}
	return nil, fmt.Errorf("%d: %w", pid, ErrNoProcess)
}

// task finds one of the session's.
func (s *session) task(tid int) (*inferior.Task, error) {
	t := s.tasks[tid]
	if t == nil || t.Process.Silent {
		return nil, fmt.Errorf("task %d: %w", tid, ErrGone)
	}
	return t, nil
}

func (s *session) stopped(tid int) (*inferior.Task, error) {
	t, err := s.task(tid)
	if err != nil {
		return nil, err
	}
	if t.State != inferior.Stopped {
		return nil, fmt.Errorf("task %d: %w", tid, ErrNotStopped)
	}
	return t, nil
}

func isGone(err error) bool {
	return errors.Is(err, ptrace.ErrGone) || errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) // also of /proc
}
