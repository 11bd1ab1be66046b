// Package arbiter shares traced processes between tracers, each as if it were
// alone.
//
// The kernel allows one ptrace attachment a thread. An Arbiter owns it: the
// first tracer that joins a process has a session attached to it, all others
// join that one. A Tracer is an engine.Session: its probes, events, stops and
// results are its own.
//
// What it holds to:
//
//   - A site is one patch with as many probes as tracers asked for: that is the
//     engine's. A tracer is told the hits of its own probes only.
//   - A task that several tracers have stopped goes on when the last of them has
//     let go. A hold has an owner and a time limit; who does not let go in time
//     is named, and the task goes on.
//   - Registers and memory are written by who has control of the process, or by
//     anybody as long as nobody has it.
//   - A tracer's end, whatever its cause, takes its probes, handlers, holds and
//     control with it. With the last tracer the process is let go.
//
// All methods may be called from any goroutine. There are three locks, taken in
// this order: Arbiter.mu, group.control, group.mu. The session's thread takes
// only the last, which is never held while a session is asked for something.
//
// Who may do what to which process is not its business but the server's, who
// asks before each request (Identity.Allow). The package imports the engine's
// interface, and knows nothing of sockets.
package arbiter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ptracer/ptracer/engine"
)

// Errors of tracers, beside those of the engine.
var (
	// ErrFollow is of a tracer that wants children followed, or not, where
	// those before it wanted the other.
	ErrFollow = errors.New("children are followed for all tracers of a process, or for none")
	// ErrElsewhere is of a process that can't be added to a tracer's others.
	ErrElsewhere = errors.New("it is traced together with other processes")
	// ErrControl is of a write to a process that another tracer controls.
	ErrControl = errors.New("another tracer controls the process")
	// ErrHeld is of what can't be done while others hold a task.
	ErrHeld = errors.New("other tracers hold the task")
	// ErrQuota is of a tracer that wants more than it may have.
	ErrQuota = errors.New("more than one user may have")
	// ErrClosed is of an arbiter that ends.
	ErrClosed = errors.New("the arbiter ends")
)

// Options of an arbiter. The zero value is good.
type Options struct {
	// Attach makes the session of a process; nil: engine.Attach.
	Attach func(pid int, o engine.Options) (engine.Session, error)
	// HoldLimit is how long a tracer may hold a task; 0: 30 s, < 0: for ever.
	HoldLimit time.Duration
	// ControlLimit is the longest that control is given for; 0: 5 min.
	ControlLimit time.Duration
	Quota        Quota
	// ProcessOf tells the process of a task, 0 if it has ended; nil: the
	// kernel does.
	ProcessOf func(tid int) int
}

// Quota is the most that the tracers of one user may have; 0: 64 tracers,
// 100,000 probes, 256 handlers.
type Quota struct{ Tracers, Probes, Handlers int }

// Arbiter owns sessions and shares them.
type Arbiter struct {
	opts   Options
	mu     sync.Mutex
	groups []*group
	used   map[uint32]*Quota // by user
	ids    int
	closed bool
}

// New makes an arbiter that traces nothing yet.
func New(o Options) *Arbiter {
	if o.Attach == nil {
		o.Attach = func(pid int, eo engine.Options) (engine.Session, error) { return engine.Attach(pid, eo) }
	}
	if o.ProcessOf == nil {
		o.ProcessOf = processOf
	}
	o.HoldLimit = cmp.Or(o.HoldLimit, 30*time.Second)
	o.ControlLimit = cmp.Or(o.ControlLimit, 5*time.Minute)
	o.Quota = Quota{cmp.Or(o.Quota.Tracers, 64), cmp.Or(o.Quota.Probes, 100_000), cmp.Or(o.Quota.Handlers, 256)}
	return &Arbiter{opts: o, used: map[uint32]*Quota{}}
}

// Identity is who a tracer is.
type Identity struct {
	Name string // for people: "ptracer count"
	PID  int
	UID  uint32
	GIDs []uint32
	// Allow is asked before anything is done to a process; nil: all is allowed.
	Allow func(pid int) error
}

// String names a tracer to others.
func (id Identity) String() string { return fmt.Sprintf("%s (process %d)", id.Name, id.PID) }

// Join makes a tracer of a process, which is attached to if nobody traces it
// yet. Buffer, Signals and Life of the options are the tracer's own.
func (a *Arbiter) Join(pid int, id Identity, o engine.Options) (*Tracer, error) {
	if o.Resident {
		return nil, fmt.Errorf("resident probes: %w: they belong to nobody; trace the process directly", errors.ErrUnsupported)
	}
	if id.Allow != nil {
		if err := id.Allow(pid); err != nil {
			return nil, err
		}
	}
	t, err := a.enter(id, o)
	if err != nil {
		return nil, err
	}
	for {
		g, fresh, err := a.groupFor(pid, o)
		if err != nil {
			t.leave()
			return nil, err
		}
		if fresh {
			g.open(a, pid, o)
		}
		<-g.ready
		if g.err != nil {
			t.leave()
			return nil, g.err
		}
		if g.follow != o.Follow {
			t.leave()
			return nil, fmt.Errorf("process %d: %w: it is traced by %s", pid, ErrFollow, names(g.others(nil)))
		}
		if g.admit(t, pid) {
			if !slices.Contains(g.s.Processes(), pid) { // it ended before we could be told
				return nil, errors.Join(fmt.Errorf("process %d: %w", pid, engine.ErrGone), t.Detach())
			}
			return t, nil
		}
		<-g.over // the last of the others has just left
	}
}

// enter counts a new tracer.
func (a *Arbiter) enter(id Identity, o engine.Options) (*Tracer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	a.ids++
	t := newTracer(a, a.ids, id, o)
	return t, a.take(id.UID, Quota{Tracers: 1})
}

// take counts what a user has, if he may have that much. The lock is held.
func (a *Arbiter) take(uid uint32, q Quota) error {
	u, most := a.used[uid], a.opts.Quota
	if u == nil {
		u = &Quota{}
		a.used[uid] = u
	}
	for _, c := range []struct {
		have, more, most int
		what             string
	}{
		{u.Tracers, q.Tracers, most.Tracers, "tracers"},
		{u.Probes, q.Probes, most.Probes, "probes"},
		{u.Handlers, q.Handlers, most.Handlers, "handlers"},
	} {
		if c.more > 0 && c.have+c.more > c.most {
			return fmt.Errorf("%w: %d %s", ErrQuota, c.most, c.what)
		}
	}
	u.Tracers, u.Probes, u.Handlers = u.Tracers+q.Tracers, u.Probes+q.Probes, u.Handlers+q.Handlers
	if *u == (Quota{}) {
		delete(a.used, uid)
	}
	return nil
}

func (a *Arbiter) spend(uid uint32, q Quota) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(uid, q)
}

// groupFor finds who traces a process, or makes an empty group for it: fresh.
func (a *Arbiter) groupFor(pid int, o engine.Options) (g *group, fresh bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false, ErrClosed
	}
	if g := a.find(pid); g != nil {
		return g, false, nil
	}
	g = newGroup(a, pid, o.Follow)
	a.groups = append(a.groups, g)
	return g, true, nil
}

// find finds the group of a process. The lock is held.
func (a *Arbiter) find(pid int) *group {
	for _, g := range a.groups {
		if g.has(pid) {
			return g
		}
	}
	return nil
}

// drop forgets a group that is over.
func (a *Arbiter) drop(g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.groups = slices.DeleteFunc(a.groups, func(h *group) bool { return h == g })
}

// Owns is whether a process is traced here.
func (a *Arbiter) Owns(pid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(pid) != nil
}

// Tracers tells of all tracers, the oldest first; with a pid, of those of that
// process.
func (a *Arbiter) Tracers(pid int) (list []TracerInfo) {
	a.mu.Lock()
	groups := slices.Clone(a.groups)
	a.mu.Unlock()
	for _, g := range groups {
		for _, t := range g.others(nil) {
			if info := t.Info(); pid == 0 || slices.Contains(info.Processes, pid) {
				list = append(list, info)
			}
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
