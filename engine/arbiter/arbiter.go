// Package arbiter shares traced processes between tracers, each as if it were
// alone.
//
// The kernel allows one ptrace attachment a thread. An Arbiter owns it: the
// first tracer that wants a process has a session attach to it, all others join
// that one. A Tracer is an engine.Session: its probes, events, stops and results
// are its own.
//
// What it holds to:
//
//   - A site is one patch with as many probes as tracers asked for: that is the
//     engine's. A tracer is told the hits of its own probes only, in the processes
//     that it sees, and each follows children or does not.
//   - A task that several tracers have stopped goes on when the last of them has
//     let go (holds.go). A hold has an owner and a time limit; who does not let go
//     in time is named, the task goes on, and his stops hold nobody until he shows
//     a sign of life.
//   - Registers, memory, signals and steps, and handlers that write, are for who has
//     control of the process: one at a time (lease.go). A write takes control where
//     nobody has it, and keeps it as long as the writer holds a task.
//   - A tracer's end, whatever its cause, takes its probes, handlers, holds and
//     control with it. With the last tracer the process is let go.
//   - Who may not trace a process any more, for it has executed a program with
//     other rights, loses it before that program runs.
//
// All methods may be called from any goroutine. There are four kinds of locks,
// taken in this order: Arbiter.mu, group.control, group.mu, Tracer.mu. A session's
// thread takes only the last two, which are never held while a session is asked for
// something.
//
// Who may do what to which process is not its business but the server's, who is
// asked before each request (Identity.Allow). The package imports the engine's
// interface, and knows nothing of sockets.
package arbiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// Errors of tracers, beside those of the engine.
var (
	// ErrElsewhere is of what needs that a tracer's processes are in one session.
	ErrElsewhere = errors.New("its processes are traced together with others, in several sessions")
	// ErrControl is of a write to a process that another tracer controls.
	ErrControl = errors.New("another tracer controls the process")
	// ErrHeld is of what can't be done while others hold a task.
	ErrHeld = errors.New("other tracers hold it")
	// ErrQuota is of a tracer that wants more than its user may have.
	ErrQuota = errors.New("more than one user may have")
	// ErrClosed is of an arbiter that ends.
	ErrClosed = errors.New("the arbiter ends")
)

// Options of an arbiter. The zero value is good.
type Options struct {
	// Attach makes the session of a process; nil: engine.AttachShared.
	Attach func(pid int, o engine.SharedOptions) (engine.Shared, error)
	// HoldLimit is how long a tracer may hold a task; 0: 30 s, < 0: for ever.
	HoldLimit time.Duration
	// ControlLimit is the longest that control is given for; 0: 5 min.
	ControlLimit time.Duration
	Quota        Quota // of each user
	// ProcessOf tells the process of a task, 0 if it has ended; nil: the
	// kernel does.
	ProcessOf func(tid int) int
}

// Arbiter owns sessions and shares them.
type Arbiter struct {
	opts   Options
	mu     sync.Mutex
	groups []*group
	procs  map[int]*group        // who has which process, as far as has been told
	adding map[chan struct{}]int // the processes that are being added to a tracer
	used   map[uint32]*Quota     // by user
	ids    int
	closed bool
}

// New makes an arbiter that traces nothing yet.
func New(o Options) *Arbiter {
	if o.Attach == nil {
		o.Attach = func(pid int, eo engine.SharedOptions) (engine.Shared, error) {
			return engine.AttachShared(context.Background(), pid, eo)
		}
	}
	if o.ProcessOf == nil {
		o.ProcessOf = procfs.Group
	}
	o.HoldLimit = cmp.Or(o.HoldLimit, 30*time.Second)
	o.ControlLimit = cmp.Or(o.ControlLimit, 5*time.Minute)
	o.Quota = o.Quota.orDefault()
	return &Arbiter{opts: o, procs: map[int]*group{}, adding: map[chan struct{}]int{}, used: map[uint32]*Quota{}}
}

// Identity is who a tracer is.
type Identity struct {
	Name string // for people: "ptracer count"
	PID  int
	UID  uint32
	GIDs []uint32
	// Allow is asked before anything is done to a process; nil: all is allowed.
	// It is asked on sessions' threads, too, and may ask nothing of the arbiter.
	Allow func(pid int) error
}

// String names a tracer to others.
func (id Identity) String() string { return fmt.Sprintf("%s (process %d)", id.Name, id.PID) }

var errResident = &failure.Unsupported{What: "resident probes belong to no tracer that shares a process", Needs: "a session of its own (--direct)"}

// Join makes a tracer of a process, which is attached to if nobody traces it
// yet. Buffer, Signals, Life and Follow of the options are the tracer's own.
func (a *Arbiter) Join(pid int, id Identity, o engine.Options) (*Tracer, error) {
	if o.Resident {
		return nil, errResident
	}
	t, err := a.enter(id, o)
	if err != nil {
		return nil, err
	}
	if err := t.add(pid); err != nil {
		_ = t.Detach()
		return nil, err
	}
	return t, nil
}

// enter counts a new tracer.
func (a *Arbiter) enter(id Identity, o engine.Options) (*Tracer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	t := newTracer(a, a.ids+1, id, o)
	if err := a.take(id.UID, costOf(t)); err != nil {
		return nil, err
	}
	a.ids++
	return t, nil
}

// groupFor finds the group that has a process, or one that is to attach to it:
// that of a tracer who has processes already, else a new one.
func (a *Arbiter) groupFor(pid int, t *Tracer) (g *group, attach bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false, ErrClosed
	}
	if g := a.procs[pid]; g != nil {
		return g, false, nil
	}
	if g = t.home(); g == nil {
		g = newGroup(a)
		a.groups = append(a.groups, g)
	}
	a.procs[pid] = g
	return g, true, nil
}

// own notes whose a process is, nil: nobody's.
func (a *Arbiter) own(pid int, g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g != nil {
		a.procs[pid] = g
	} else {
		delete(a.procs, pid)
	}
}

// drop forgets a group that is over.
func (a *Arbiter) drop(g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.groups = slices.DeleteFunc(a.groups, func(h *group) bool { return h == g })
	for pid, h := range a.procs {
		if h == g {
			delete(a.procs, pid)
		}
	}
}

// all are the groups that there are.
func (a *Arbiter) all() []*group {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.groups)
}

// ask looks for a process that nobody has told of yet: a child, of which the
// session knows, and we don't.
func (a *Arbiter) ask(pid int) bool {
	for _, g := range a.all() {
		if g.isReady() && slices.Contains(g.s.Processes(), pid) {
			a.own(pid, g)
			g.has(pid)
			return true
		}
	}
	return false
}

// Owns is whether a process is traced here.
func (a *Arbiter) Owns(pid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.procs[pid] != nil
}

// add notes that a process is being added to a tracer, until done.
func (a *Arbiter) add(pid int) (done func()) {
	c := make(chan struct{})
	a.mu.Lock()
	a.adding[c] = pid
	a.mu.Unlock()
	return func() {
		a.mu.Lock()
		delete(a.adding, c)
		a.mu.Unlock()
		close(c)
	}
}

// settlePatience is how long a request for a process's tracers waits for those that are just coming:
// on a busy machine an attach takes seconds.
const settlePatience = 10 * time.Second

// settle waits until those who are adding a process have it, or don't: it is
// attached to already, as anybody can see, while none of its tracers is there.
func (a *Arbiter) settle(pid int) {
	var waits []chan struct{}
	a.mu.Lock()
	for c, p := range a.adding {
		if p == pid {
			waits = append(waits, c)
		}
	}
	a.mu.Unlock()
	late := time.After(settlePatience)
	for _, c := range waits {
		select {
		case <-c:
		case <-late:
			return
		}
	}
}

// Tracers tells of all tracers, the oldest first; with a pid, of those of that
// process, and of who is just attaching to it. To count their hits, too, asks their
// sessions.
func (a *Arbiter) Tracers(pid int, hits bool) (list []TracerInfo) {
	a.settle(pid)
	var tracers []*Tracer
	for _, g := range a.all() {
		for _, t := range g.others(nil) {
			if !slices.Contains(tracers, t) {
				tracers = append(tracers, t)
			}
		}
	}
	for _, t := range tracers {
		if pid == 0 || t.sees(pid) {
			list = append(list, t.info(hits))
		}
	}
	slices.SortFunc(list, func(x, y TracerInfo) int { return x.ID - y.ID })
	return list
}

// Close ends all tracers and lets all processes go. There can be none after.
func (a *Arbiter) Close() error {
	a.mu.Lock()
	a.closed = true
	groups := slices.Clone(a.groups)
	a.mu.Unlock()
	var errs []error
	for _, g := range groups {
		<-g.ready
		for _, t := range g.others(nil) {
			errs = append(errs, t.Detach())
		}
		<-g.over
	}
	return errors.Join(errs...)
}

// processOf is the process of a task, 0 if there is none.

// tracedByUs is whether a thread of ours traces a process.
func tracedByUs(pid int) bool {
	tracer := procfs.Tracer(pid)
	return tracer != 0 && procfs.Group(tracer) == os.Getpid()
}
