// Package arbiter shares traced processes between tracers; each works as if it were alone.
//
// The kernel allows one ptrace attachment per thread. An Arbiter owns it: the first tracer that
// wants a process makes a session attach to it, and all others join that session. A Tracer is an
// engine.Session: its probes, events, stops and results are its own.
//
// The rules that it keeps:
//
//   - A site is one patch with as many probes as tracers asked for; the engine sees to
//     that. A tracer is told of the hits of its own probes only, in the processes that
//     it sees, and each tracer follows children or does not.
//   - A task that several tracers have stopped is resumed when the last of them has
//     released it (holds.go). A hold has an owner and a time limit. When the limit
//     passes, a notice names the owner, the task is resumed, and further stops of that
//     tracer hold nothing until it makes a request again.
//   - Registers, memory, signals and steps, and handlers that write, require control
//     of the process, which one tracer has at a time (lease.go). A write takes control
//     if no tracer has it, and keeps it as long as the writer holds a task.
//   - When a tracer ends, for any reason, its probes, handlers, holds and control end
//     with it. With the last tracer the arbiter detaches from the process.
//   - A tracer that may not trace a process any more, since the process has executed a
//     program with other rights, loses the process before that program runs.
//
// All methods may be called from any goroutine. There are four kinds of locks, taken in this order:
// Arbiter.mu, group.control, group.mu, Tracer.mu. A session's thread takes only the last two, and
// no goroutine holds these while it makes a request to a session.
//
// The arbiter does not decide which user may trace which process: it asks the server before each
// request (Identity.Allow). The package imports the engine's interface and has no sockets.
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
	// ErrElsewhere is returned when a request needs a tracer's processes to be in one session and
	// they are not.
	ErrElsewhere = errors.New("its processes are traced together with others, in several sessions")
	// ErrControl is returned for a write to a process that another tracer controls.
	ErrControl = errors.New("another tracer controls the process")
	// ErrHeld is returned when a request is not possible while other tracers hold a task.
	ErrHeld = errors.New("other tracers hold it")
	// ErrQuota is returned when a tracer asks for more than its user may have.
	ErrQuota = errors.New("more than one user may have")
	// ErrClosed is returned by an arbiter that is closing.
	ErrClosed = errors.New("the arbiter ends")
)

// Options of an arbiter. The zero value is ready to use.
type Options struct {
	// Attach makes the session of a process; nil: engine.AttachShared.
	Attach func(pid int, o engine.SharedOptions) (engine.Shared, error)
	// HoldLimit is how long a tracer may hold a task; 0: 30 s, < 0: for ever.
	HoldLimit time.Duration
	// ControlLimit is the longest time that control is given for; 0: 5 min.
	ControlLimit time.Duration
	Quota        Quota // of each user
	// ProcessOf returns the process of a task, 0 if it has ended; nil: the kernel is asked.
	ProcessOf func(tid int) int
}

// Arbiter owns sessions and shares them.
type Arbiter struct {
	opts   Options
	mu     sync.Mutex
	groups []*group
	procs  map[int]*group        // the group that has each process, as far as it is known
	adding map[chan struct{}]int // the processes that are being added to a tracer
	used   map[uint32]*Quota     // by user
	ids    int
	closed bool
}

// New makes an arbiter that traces no process yet.
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

// Identity describes a tracer.
type Identity struct {
	Name string // shown to users: "ptracer count"
	PID  int
	UID  uint32
	GIDs []uint32
	// Allow is called before each operation on a process; nil: all is allowed. Sessions' threads
	// call it, too, and it must not call the arbiter.
	Allow func(pid int) error
}

// String is the tracer's name in messages to other tracers.
func (id Identity) String() string { return fmt.Sprintf("%s (process %d)", id.Name, id.PID) }

var errResident = &failure.Unsupported{What: "resident probes belong to no tracer that shares a process", Needs: "a session of its own (--direct)"}

// Join makes a tracer of a process, and attaches to the process if it is not traced yet. Buffer,
// Signals, Life and Follow of the options apply to this tracer only.
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

// groupFor finds the group that has a process, or the group that must attach to it: that of a
// tracer which has processes already, else a new one.
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

// own records which group has a process; nil: none.
func (a *Arbiter) own(pid int, g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g != nil {
		a.procs[pid] = g
	} else {
		delete(a.procs, pid)
	}
}

// drop forgets a group that has ended.
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

// all returns all groups.
func (a *Arbiter) all() []*group {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.groups)
}

// ask looks for a process that has not been announced yet: a child that the session knows and the
// arbiter does not.
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

// Owns reports whether a process is traced here.
func (a *Arbiter) Owns(pid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.procs[pid] != nil
}

// add records that a process is being added to a tracer, until done is called.
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

// settle waits until a process that is being added has its tracer, or adding has failed. Until then
// the process shows as attached, though it has no tracer yet.
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

// Tracers describes all tracers, the oldest first; with a pid, those of that process, including one
// that is attaching to it. With hits it also asks their sessions for the hit counts.
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

// Close ends all tracers and detaches from all processes. Join fails afterwards.
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

// tracedByUs reports whether a thread of this process traces another process.
func tracedByUs(pid int) bool {
	tracer := procfs.Tracer(pid)
	return tracer != 0 && procfs.Group(tracer) == os.Getpid()
}
