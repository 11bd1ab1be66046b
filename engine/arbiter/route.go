package arbiter

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// What a session tells goes to the tracers that it is for. All here but what is
// started by go runs on the group's goroutine, event by event.

// route gives one event to whom it is for.
func (g *group) route(e *event.Event) {
	switch e.Kind {
	case event.Hit, event.Stopped, event.Print:
		if e.Probe != 0 { // a stop without one: who asked for it tells
			g.tellOwner(e)
		}
		return
	case event.Fork:
		g.born(e.PID, e.Child)
	case event.Exec:
		g.executed(e)
	case event.Aside:
		g.dropHolds(e.PID, func(int) bool { return true })
	case event.Exit:
		defer g.died(e)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if wants(t, e) {
			t.Put(e, e.Kind != event.Signal)
		}
	}
}

// wants reports whether a tracer is told an event that is nobody's own.
func wants(t *Tracer, e *event.Event) bool {
	if e.PID != 0 && !t.sees(e.PID) {
		return false
	}
	switch e.Kind {
	case event.Signal:
		return t.opts.Signals
	case event.Fork:
		return t.opts.Life && (t.opts.Follow || t.sees(e.Child))
	case event.Clone, event.Exec, event.Library, event.Unload, event.Exit:
		return t.opts.Life
	}
	return true
}

// tellOwner tells a hit to the tracer whose probe it is.
func (g *group) tellOwner(e *event.Event) {
	p := g.owner(e.Probe)
	if p == nil { // it may be about to be known
		g.registering.RLock()
		p = g.owner(e.Probe)
		g.registering.RUnlock()
	}
	if p != nil && p.t.sees(e.PID) {
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
	g.a.own(child, g)
	g.programs.next(child)
	g.mu.Lock()
	g.procs[child] = g.procs[parent]
	seen := false
	for _, t := range g.tracers {
		if t.opts.Follow && t.seeChild(g, parent, child) {
			seen = true
			g.inherit(t, parent, child)
		}
	}
	g.mu.Unlock()
	if !seen {
		go g.tidy()
	}
}

// executed takes a process away from those who may not trace it any more, and
// holds from its tasks that are gone.
func (g *group) executed(e *event.Event) {
	g.programs.next(e.PID)
	g.dropHolds(e.PID, func(tid int) bool { return tid != e.PID })
	for _, t := range g.others(nil) {
		if !t.sees(e.PID) {
			continue
		}
		if err := t.allowed(e.PID); err != nil && !errors.Is(err, engine.ErrGone) {
			t.mu.Lock()
			delete(t.view, e.PID)
			t.mu.Unlock()
			note(t, event.Warning, e.PID, e.PID, "process %d has executed another program, and is not to be traced any more: %v", e.PID, err)
			go func() { _ = t.release(e.PID) }()
		}
	}
}

// died takes a process away from those who saw it; a tracer that has seen the
// last of its own is done.
func (g *group) died(e *event.Event) {
	g.a.own(e.PID, nil)
	g.dropHolds(e.PID, func(int) bool { return true })
	g.mu.Lock()
	delete(g.procs, e.PID)
	g.dropLease(e.PID)
	list := slices.Clone(g.tracers)
	g.mu.Unlock()
	for _, t := range list {
		if t.sawDie(e) {
			go func() { _ = t.Detach() }() // which waits for us, if it is the last one
		}
	}
}
