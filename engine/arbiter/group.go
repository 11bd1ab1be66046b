package arbiter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// group is the tracers of one session: those of its first process, of the processes added to it,
// and of the descendants of processes with children that a tracer follows.
type group struct {
	a     *Arbiter
	ready chan struct{} // closed when s or err is there
	over  chan struct{} // closed when nothing of it is left
	s     engine.Shared
	err   error

	// control is held while tasks are stopped or resumed, and while tracers and processes are added
	// or removed.
	control sync.Mutex
	// registering is held while a probe has been planted but its owner is not known yet.
	registering sync.RWMutex
	programs    programs

	mu      sync.Mutex
	ending  bool
	tracers []*Tracer
	procs   map[int]bool // the processes that it has: whether their children are followed
	owners  map[event.ProbeID]*probe
	holds   map[int]map[*Tracer]*hold // by task
	leases  map[int]*lease            // by process
	waiting map[int][]*waiter         // for control, by process
	wrote   written
}

func newGroup(a *Arbiter) *group {
	return &group{a: a, ready: make(chan struct{}), over: make(chan struct{}), procs: map[int]bool{},
		owners: map[event.ProbeID]*probe{}, holds: map[int]map[*Tracer]*hold{}, leases: map[int]*lease{}, waiting: map[int][]*waiter{}}
}

// open attaches to the group's first process.
func (g *group) open(pid int, o engine.Options) {
	allow := func(by any, pid int) bool { return by.(*Tracer).allowed(pid) == nil }
	g.s, g.err = g.a.opts.Attach(pid, engine.SharedOptions{Allow: allow,
		Options: engine.Options{Follow: o.Follow, Life: true, Signals: true, Handlers: o.Handlers}})
	if g.err != nil {
		g.a.drop(g)
		close(g.over)
	} else {
		g.procs[pid] = o.Follow
		go g.dispatch()
	}
	close(g.ready)
}

// isReady reports whether there is a session.
func (g *group) isReady() bool {
	select {
	case <-g.ready:
		return g.err == nil
	default:
		return false
	}
}

// has records that a process belongs to the group.
func (g *group) has(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.procs[pid]; !ok {
		g.programs.next(pid)
		g.procs[pid] = false
	}
}

// attach adds a process to the session.
func (g *group) attach(pid int) error {
	g.control.Lock()
	defer g.control.Unlock()
	err := g.s.AddProcess(pid)
	if err != nil {
		g.a.own(pid, nil)
		return err
	}
	g.has(pid)
	return nil
}

// admit gives a tracer a process of the group's. It returns false if that process, or the group, is
// ending.
func (g *group) admit(t *Tracer, pid int) bool {
	g.control.Lock()
	defer g.control.Unlock()
	if !g.see(t, pid) {
		return false
	}
	g.refollow()
	return true
}

func (g *group) see(t *Tracer, pid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := g.procs[pid]; g.ending || !ok || t.ended {
		return false
	}
	t.roots = append(t.roots, pid)
	t.view[pid] = g
	if !slices.Contains(g.tracers, t) {
		t.groups, t.active = append(t.groups, g), t.active+1
		g.tracers = append(g.tracers, t)
	}
	return true
}

// refollow makes the session follow the children of the processes for which a tracer wants it. The
// control lock is held.
func (g *group) refollow() {
	change := map[int]bool{}
	g.mu.Lock()
	for pid, is := range g.procs {
		want := slices.ContainsFunc(g.tracers, func(t *Tracer) bool { return t.opts.Follow && t.sees(pid) })
		if want != is {
			change[pid], g.procs[pid] = want, want
		}
	}
	g.mu.Unlock()
	for pid, want := range change {
		_ = g.s.Follow(pid, want) // it may have ended
	}
}

// others returns the group's tracers except t.
func (g *group) others(t *Tracer) []*Tracer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.tracers), func(u *Tracer) bool { return u == t })
}

// names lists tracers for a message.
func names(list []*Tracer) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = t.id.String()
	}
	return strings.Join(texts, ", ")
}

// dispatch passes the session's events to the tracers that they are meant for.
func (g *group) dispatch() {
	for e := range g.s.Events(context.Background()) {
		g.route(&e)
	}
	g.mu.Lock()
	g.ending = true
	list := slices.Clone(g.tracers)
	g.mu.Unlock()
	g.a.drop(g)
	for _, t := range list {
		t.lost(g)
	}
	close(g.over)
}

// warn sends all tracers of a process a warning.
func (g *group) warn(pid, tid int, format string, args ...any) {
	e := event.Event{Time: engine.Now(), PID: pid, TID: tid, Body: &event.Warning{Text: fmt.Sprintf(format, args...)}}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if t.sees(pid) {
			t.Put(&e, true)
		}
	}
}

// warn sends a tracer a warning.
func warn(t *Tracer, pid, tid int, format string, args ...any) {
	note(t, pid, tid, &event.Warning{Text: fmt.Sprintf(format, args...)})
}

// note sends a tracer an event of the arbiter's.
func note(t *Tracer, pid, tid int, what event.Body) {
	t.Put(&event.Event{Time: engine.Now(), PID: pid, TID: tid, Body: what}, true)
}
