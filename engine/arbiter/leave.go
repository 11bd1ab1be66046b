package arbiter

import (
	"errors"
	"os"
	"slices"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// How tracers end, and what ends with them.

// Detach implements engine.Session: the tracer's probes, handlers, holds and control end. The
// arbiter detaches from processes that no other tracer sees.
func (t *Tracer) Detach() error {
	var err error
	t.end.Do(func() {
		groups, handlers := t.close()
		for _, g := range groups {
			err = errors.Join(err, g.dismiss(t))
		}
		for _, h := range handlers {
			err = errors.Join(err, h.end())
		}
		t.finish()
	})
	<-t.done
	return err
}

// Close is Detach, after which no request is possible: the tracer's results are forgotten.
func (t *Tracer) Close() error {
	err := t.Detach()
	t.mu.Lock()
	probes := t.probes
	t.probes = nil
	t.mu.Unlock()
	for _, p := range probes {
		for _, x := range p.parts {
			x.g.disown(x.id)
		}
	}
	return err
}

// disown releases one of the session's probes, unless the session is ending.
func (g *group) disown(id event.ProbeID) {
	g.mu.Lock()
	delete(g.owners, id)
	over := g.ending
	g.mu.Unlock()
	if !over {
		_ = g.s.Release(id) // it may have ended meanwhile
	}
}

// finish returns what a tracer has of its user's quota, and closes done.
func (t *Tracer) finish() {
	q := costOf(t)
	t.mu.Lock()
	for _, p := range t.probes {
		if !p.gone {
			q.Probes++
			q.Places += p.places
		}
	}
	for _, h := range t.handlers {
		q.Handlers++
		q.Memory += h.size
	}
	for pid := range t.view {
		t.unsee(pid)
	}
	t.mu.Unlock()
	_ = t.a.spend(t.id.UID, q.negative())
	t.End()
	close(t.done)
}

// lost is called for a tracer when a session has ended; the tracer may have other sessions.
func (t *Tracer) lost(g *group) {
	g.forget(t)
	t.mu.Lock()
	t.active--
	for pid, h := range t.view {
		if h == g {
			t.unsee(pid)
		}
	}
	last := t.active == 0
	t.mu.Unlock()
	if !last {
		return
	}
	t.end.Do(func() {
		_, handlers := t.close()
		for _, h := range handlers {
			_ = h.end()
		}
		t.finish()
	})
}

// dismiss removes everything that a tracer has in a group, and detaches from processes that no
// tracer sees then.
func (g *group) dismiss(t *Tracer) error {
	err := g.releaseHolds(t, func(*hold) bool { return true })
	if len(g.others(t)) > 0 { // else everything ends with the session
		for _, p := range t.live() {
			err = errors.Join(err, p.uprootFrom(g))
		}
	}
	return errors.Join(err, g.withdraw(t))
}

// withdraw removes a tracer from its group, and detaches from processes that no tracer sees then.
func (g *group) withdraw(t *Tracer) error {
	g.control.Lock()
	defer g.control.Unlock()
	g.forget(t)
	g.mu.Lock()
	last := len(g.tracers) == 0 && !g.ending
	g.ending = g.ending || last
	g.mu.Unlock()
	if last {
		err := g.s.Detach()
		g.a.drop(g)
		return err
	}
	g.refollow()
	return g.letUnseen()
}

// forget removes a tracer from its group.
func (g *group) forget(t *Tracer) {
	g.endLeases(t, 0)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tracers = slices.DeleteFunc(g.tracers, func(u *Tracer) bool { return u == t })
}

// tidy detaches from the processes that no tracer sees.
func (g *group) tidy() error {
	g.control.Lock()
	defer g.control.Unlock()
	g.refollow()
	return g.letUnseen()
}

// letUnseen does it with the control lock held. It keeps a process that the session has but has not
// announced yet: it is not known yet which tracers will see it.
func (g *group) letUnseen() error {
	var errs []error
	for _, pid := range g.unseen() {
		g.a.own(pid, nil)
		if err := g.s.RemoveProcess(pid); err != nil && !isOver(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *group) unseen() (pids []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for pid := range g.procs {
		if !slices.ContainsFunc(g.tracers, func(t *Tracer) bool { return t.sees(pid) }) {
			pids = append(pids, pid)
			delete(g.procs, pid)
		}
	}
	return pids
}

// isOver reports whether an error means that there is nothing left to do.
func isOver(err error) bool {
	for _, gone := range []error{engine.ErrEnded, engine.ErrNoProcess, engine.ErrNotStopped, engine.ErrGone, engine.ErrNoProbe, os.ErrClosed} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
