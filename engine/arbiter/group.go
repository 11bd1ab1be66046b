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

// group is the tracers of one session: of a process, what was added to it and,
// if it is followed, what descends from it.
type group struct {
	a      *Arbiter
	first  int // the process that it began with
	follow bool
	ready  chan struct{} // closed when s or err is there
	over   chan struct{} // closed when nothing of it is left
	s      engine.Session
	err    error

	// control is held while tasks are stopped or let go, and while tracers come
	// and go.
	control sync.Mutex
	// registering is held while a probe has been planted, but nobody knows yet
	// whose it is.
	registering sync.RWMutex

	mu      sync.Mutex
	ending  bool
	tracers []*Tracer
	owners  map[event.ProbeID]*probe
	holds   map[int]map[*Tracer]*hold // by task
	leases  map[int]*lease            // by process
}

func newGroup(a *Arbiter, pid int, follow bool) *group {
	return &group{a: a, first: pid, follow: follow, ready: make(chan struct{}), over: make(chan struct{}),
		owners: map[event.ProbeID]*probe{}, holds: map[int]map[*Tracer]*hold{}, leases: map[int]*lease{}}
}

// open attaches to the group's process.
func (g *group) open(a *Arbiter, pid int, o engine.Options) {
	g.s, g.err = a.opts.Attach(pid, engine.Options{Follow: o.Follow, Life: true, Signals: true, Handlers: o.Handlers})
	if g.err != nil {
		a.drop(g)
		close(g.over)
	} else {
		go g.dispatch()
	}
	close(g.ready)
}

// has is whether a process is the group's.
func (g *group) has(pid int) bool {
	select {
	case <-g.ready:
		return g.err == nil && slices.Contains(g.s.Processes(), pid)
	default:
		return g.first == pid
	}
}

// admit takes a tracer of a process in; it is false when the group is ending.
func (g *group) admit(t *Tracer, pid int) bool {
	g.control.Lock()
	defer g.control.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return false
	}
	t.g = g
	t.roots = append(t.roots, pid)
	t.view[pid] = true
	g.tracers = append(g.tracers, t)
	return true
}

// others are the group's tracers but for t.
func (g *group) others(t *Tracer) []*Tracer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.tracers), func(u *Tracer) bool { return u == t })
}

// names tells people of tracers.
func names(list []*Tracer) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = t.id.String()
	}
	return strings.Join(texts, ", ")
}

// dispatch gives the session's events to the tracers that they are for.
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
		t.finish()
	}
	close(g.over)
}

// route gives one event to whom it is for.
func (g *group) route(e *event.Event) {
	switch e.Kind {
	case event.Hit, event.Stopped, event.Print:
		if e.Probe != 0 { // a stop without one: Interrupt tells who asked for it
			g.tellOwner(e)
		}
		return
	case event.Fork:
		g.born(e.PID, e.Child)
	case event.Exit:
		defer g.died(e)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if t.wants(e) {
			t.Put(e, e.Kind != event.Signal)
		}
	}
}

// tellOwner tells a hit to the tracer whose probe it is.
func (g *group) tellOwner(e *event.Event) {
	p := g.owner(e.Probe)
	if p == nil { // it may be about to be known
		g.registering.RLock()
		p = g.owner(e.Probe)
		g.registering.RUnlock()
	}
	if p != nil {
		e.Probe = p.id
		p.t.Put(e, e.Kind == event.Stopped)
	}
}

func (g *group) owner(id event.ProbeID) *probe {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owners[id]
}

// born shows a child to those who follow its parent.
func (g *group) born(parent, child int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if g.follow && t.view[parent] {
			t.view[child] = true
		}
	}
}

// died takes a process away from those who saw it; a tracer that has seen the
// last of its own is done.
func (g *group) died(e *event.Event) {
	g.mu.Lock()
	var done []*Tracer
	delete(g.leases, e.PID)
	for tid, hs := range g.holds {
		for _, h := range hs {
			if h.pid == e.PID {
				h.end()
				delete(g.holds, tid)
			}
		}
	}
	for _, t := range g.tracers {
		if !t.view[e.PID] {
			continue
		}
		delete(t.view, e.PID)
		t.exits[e.PID] = engine.Exit{Status: e.Status, Signal: e.Signal}
		if len(t.view) == 0 {
			done = append(done, t)
		}
	}
	g.mu.Unlock()
	for _, t := range done {
		go func() { _ = t.Detach() }() // which waits for us, if it is the last one
	}
}

// tell tells all tracers of a process something of ours.
func (g *group) tell(pid int, kind event.Kind, tid int, format string, args ...any) {
	e := event.Event{Kind: kind, Time: engine.Now(), PID: pid, TID: tid, Text: fmt.Sprintf(format, args...)}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if t.view[pid] {
			t.Put(&e, true)
		}
	}
}
