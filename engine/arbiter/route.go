package arbiter

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// Events of a session go to the tracers that they are meant for. All functions here run on the
// group's goroutine, one event after the other, except those started with go.

// route passes one event to its receivers.
func (g *group) route(e *event.Event) {
	switch e.Kind {
	case event.Hit, event.Stopped, event.Print:
		if e.Probe != 0 { // for a stop without a probe the caller of Interrupt makes the event
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

// wants reports whether a tracer receives an event that belongs to no probe.
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

// tellOwner passes a hit to the tracer that owns its probe.
func (g *group) tellOwner(e *event.Event) {
	p := g.owner(e.Probe)
	if p == nil { // its owner may not be recorded yet
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

// born shows a child to the tracers that follow its parent.
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

// executed removes a process from tracers that may not trace it any more, and removes the holds of
// its tasks that have ended.
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

// died removes a process from the tracers that saw it. A tracer without processes left has ended.
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
			go func() { _ = t.Detach() }() // this waits for the present goroutine, if it is the last tracer
		}
	}
}
