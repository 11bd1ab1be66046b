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
	if id := probeOf(e.Body); id != nil {
		g.tellOwner(e, id)
		return
	}
	switch b := e.Body.(type) {
	case *event.Fork:
		g.born(e.PID, b.Child)
	case *event.Exec:
		g.executed(e.PID)
	case *event.Released:
		g.dropHolds(e.PID, func(int) bool { return true })
	case *event.Exit:
		defer g.died(e.PID, b)
	}
	g.tellAll(e)
}

// tellAll passes an event that belongs to no probe to the tracers that receive it.
func (g *group) tellAll(e *event.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tracers {
		if wants(t, e) {
			t.Put(e, e.Kind() != event.KindSignal)
		}
	}
}

// wants reports whether a tracer receives an event that belongs to no probe.
func wants(t *Tracer, e *event.Event) bool {
	if e.PID != 0 && !t.sees(e.PID) {
		return false
	}
	switch b := e.Body.(type) {
	case *event.Signal:
		return t.opts.Signals
	case *event.Fork:
		return t.opts.Life && (t.opts.Follow || t.sees(b.Child))
	case *event.Clone, *event.Exec, *event.Library, *event.Unload, *event.Exit:
		return t.opts.Life
	}
	return true
}

// probeOf returns where a body has its probe, nil for a body that belongs to no probe.
func probeOf(b event.Body) *event.ProbeID {
	switch b := b.(type) {
	case *event.Hit:
		return &b.Probe
	case *event.Stopped:
		return &b.Probe
	case *event.Print:
		return &b.Probe
	}
	return nil
}

// tellOwner passes a hit, a stop or a print to the tracer that owns its probe. id is where the
// event's body has the probe: the session's number for it, which becomes the tracer's.
func (g *group) tellOwner(e *event.Event, id *event.ProbeID) {
	if *id == 0 { // for a stop without a probe the caller of Interrupt makes the event
		return
	}
	p := g.owner(*id)
	if p == nil { // its owner may not be recorded yet
		g.registering.RLock()
		p = g.owner(*id)
		g.registering.RUnlock()
	}
	if p != nil && p.t.sees(e.PID) {
		*id = p.id
		p.t.Put(e, e.Kind() == event.KindStopped)
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
func (g *group) executed(pid int) {
	g.programs.next(pid)
	g.dropHolds(pid, func(tid int) bool { return tid != pid })
	for _, t := range g.others(nil) {
		if !t.sees(pid) {
			continue
		}
		if err := t.allowed(pid); err != nil && !errors.Is(err, engine.ErrGone) {
			t.mu.Lock()
			delete(t.view, pid)
			t.mu.Unlock()
			warn(t, pid, pid, "process %d has executed another program, and is not to be traced any more: %v", pid, err)
			go func() { _ = t.release(pid) }()
		}
	}
}

// died removes a process from the tracers that saw it. A tracer without processes left has ended.
func (g *group) died(pid int, how *event.Exit) {
	g.a.own(pid, nil)
	g.dropHolds(pid, func(int) bool { return true })
	g.mu.Lock()
	delete(g.procs, pid)
	g.dropLease(pid)
	list := slices.Clone(g.tracers)
	g.mu.Unlock()
	for _, t := range list {
		if t.sawDie(pid, how) {
			go func() { _ = t.Detach() }() // this waits for the present goroutine, if it is the last tracer
		}
	}
}
