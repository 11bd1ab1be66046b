package arbiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine/event"
)

// Control of a process is a lease: only its tracer writes registers and memory, sends signals,
// steps, and has handlers that write, until the lease ends. A tracer gets it in one of two ways. It
// asks (Tracer.Control), for a limited time. Or it writes while no tracer has control; then it has
// control until the write is done, and beyond that for as long as it holds a task of the process or
// has a writing handler there. So no other tracer changes what it has read from a stopped task
// before it releases the task.

// lease is a tracer's control of a process. group.mu protects all of it.
type lease struct {
	of       *Tracer
	until    time.Time
	timer    *time.Timer
	explicit bool // Control was called
	asked    bool // another tracer has asked and did not get it
	wrote    bool
	busy     int // writes in progress
	writers  int // probes with handlers that write
}

// waiter is a tracer that has asked for control and waits for it.
type waiter struct {
	t    *Tracer
	d    time.Duration
	done chan struct{} // closed when it has control
}

// Ask are the conditions of a request for control.
type Ask struct {
	Time  time.Duration // how long to have it; 0, or more than allowed: Options.ControlLimit
	Wait  time.Duration // how long to wait for the tracer that has it
	Force bool          // take it from the tracer that has it: allowed to the same user and to root
}

// Control makes the tracer the only one that may write a process's registers and memory, for a
// limited time; calling it again extends the time. If another tracer has control, that one is told
// of the request (event.ControlRequested) and may Yield. Control waits as long as Ask says, in turn with other
// waiters, and then returns ErrControl. With Force it takes control at once and removes the other
// tracer's probes with handlers that write.
func (t *Tracer) Control(ctx context.Context, pid int, ask Ask) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	if most := t.a.opts.ControlLimit; ask.Time <= 0 || ask.Time > most {
		ask.Time = most
	}
	g.mu.Lock()
	old := g.leases[pid]
	if old == nil || old.of == t {
		defer g.mu.Unlock()
		g.grant(t, pid, ask.Time)
		return nil
	}
	if ask.Force && (t.id.UID == 0 || t.id.UID == old.of.id.UID) {
		g.grant(t, pid, ask.Time)
		g.mu.Unlock()
		warn(old.of, pid, 0, "%v has taken control of process %d over", t.id, pid)
		return old.of.stopWriting(pid)
	}
	old.asked = true
	w := &waiter{t, ask.Time, make(chan struct{})}
	refused := fmt.Errorf("process %d: %w: %v, %s", pid, ErrControl, old.of.id, old.ends())
	if ask.Wait > 0 {
		g.waiting[pid] = append(g.waiting[pid], w)
	}
	g.mu.Unlock()
	note(old.of, pid, 0, &event.ControlRequested{Text: fmt.Sprintf("%v asks for control of process %d", t.id, pid)})
	if ask.Wait <= 0 {
		return refused
	}
	return g.wait(ctx, pid, w, ask.Wait, refused)
}

// wait waits until control is passed on.
func (g *group) wait(ctx context.Context, pid int, w *waiter, d time.Duration, refused error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-timer.C:
	case <-w.t.done:
	case <-ctx.Done():
		refused = errors.Join(refused, ctx.Err())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if isClosed(w.done) {
		return nil
	}
	g.waiting[pid] = slices.DeleteFunc(g.waiting[pid], func(x *waiter) bool { return x == w })
	return refused
}

// ends returns when a lease ends, as text.
func (l *lease) ends() string {
	if !l.explicit {
		return "until it lets go of the process"
	}
	return "until " + l.until.Format(time.TimeOnly)
}

// grant gives a tracer control, or extends it. The lock is held.
func (g *group) grant(t *Tracer, pid int, d time.Duration) *lease {
	l := g.leases[pid]
	if l == nil || l.of != t {
		if l != nil {
			l.timer.Stop()
		}
		l = &lease{of: t}
		g.leases[pid] = l
	} else {
		l.timer.Stop()
	}
	l.explicit, l.until = true, time.Now().Add(d)
	l.timer = time.AfterFunc(d, func() { g.lapse(pid, l) })
	return l
}

// write runs f for a tracer that has control of a process, or that takes control for this.
func (g *group) write(t *Tracer, pid int, f func() error) error {
	g.mu.Lock()
	l, err := g.leaseFor(t, pid)
	if err != nil {
		g.mu.Unlock()
		return err
	}
	l.busy++
	g.mu.Unlock()
	err = f()
	g.mu.Lock()
	defer g.mu.Unlock()
	l.busy--
	l.wrote = l.wrote || err == nil
	g.settle(t, pid)
	return err
}

// leaseFor gives a tracer control of a process if no other tracer has it. The lock is held.
func (g *group) leaseFor(t *Tracer, pid int) (*lease, error) {
	l := g.leases[pid]
	switch {
	case l == nil:
		l = g.grant(t, pid, g.a.opts.ControlLimit)
		l.explicit = false
	case l.of != t:
		l.asked = true
		return nil, fmt.Errorf("process %d: %w: %v, %s", pid, ErrControl, l.of.id, l.ends())
	}
	return l, nil
}

// settle ends control that was taken by a write, when nothing requires it any more. The lock is
// held.
func (g *group) settle(t *Tracer, pid int) {
	l := g.leases[pid]
	if l != nil && l.of == t && !l.explicit && l.busy == 0 && l.writers == 0 && !(l.wrote && g.holdsAny(t, pid)) {
		g.endLease(pid)
	}
}

// endLease ends control of a process and gives it to the first waiter. The lock is held.
func (g *group) endLease(pid int) {
	g.leases[pid].timer.Stop()
	delete(g.leases, pid)
	for len(g.waiting[pid]) > 0 {
		w := g.waiting[pid][0]
		g.waiting[pid] = g.waiting[pid][1:]
		if w.t.sees(pid) {
			g.grant(w.t, pid, w.d)
			close(w.done)
			return
		}
	}
	delete(g.waiting, pid)
}

// dropLease forgets a process's lease and its waiters. The lock is held.
func (g *group) dropLease(pid int) {
	if l := g.leases[pid]; l != nil {
		l.timer.Stop()
		delete(g.leases, pid)
	}
	delete(g.waiting, pid)
}

// lapse runs when a lease's time is over. If its tracer has handlers that write, the lease
// continues until another tracer asks for control.
func (g *group) lapse(pid int, l *lease) {
	g.mu.Lock()
	if g.leases[pid] != l {
		g.mu.Unlock()
		return
	}
	if l.writers > 0 && !l.asked {
		defer g.mu.Unlock()
		g.grant(l.of, pid, g.a.opts.ControlLimit).explicit = false
		return
	}
	writers := l.writers
	g.mu.Unlock()
	if writers > 0 {
		_ = l.of.stopWriting(pid)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leases[pid] == l {
		g.endLease(pid)
	}
	warn(l.of, pid, 0, "control of process %d is over", pid)
}

// Yield gives up control of a process, to the first waiter. The tracer's probes with handlers that
// write are removed.
func (t *Tracer) Yield(pid int) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	err = t.stopWriting(pid)
	g.endLeases(t, pid)
	return err
}

// endLeases ends a tracer's control of a process, or of all processes if pid is 0.
func (g *group) endLeases(t *Tracer, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, l := range g.leases {
		if l.of == t && (pid == 0 || p == pid) {
			g.endLease(p)
		}
	}
	for p, list := range g.waiting {
		if pid == 0 || p == pid {
			g.waiting[p] = slices.DeleteFunc(list, func(w *waiter) bool { return w.t == t })
		}
	}
}

// stopWriting removes the tracer's probes with writing handlers from a process: the tracer has lost
// control.
func (t *Tracer) stopWriting(pid int) error {
	var errs []error
	for _, p := range t.live() {
		if p.writes && p.isIn(pid) {
			warn(t, pid, 0, "the handler of %s writes: it is gone from process %d, with control", p.spec.Location, pid)
			errs = append(errs, p.uproot(pid))
		}
	}
	return errors.Join(errs...)
}

// inherit gives a tracer that controls a process with handlers that write control of its child,
// too, which inherits the handlers. The lock is held.
func (g *group) inherit(t *Tracer, parent, child int) {
	if l := g.leases[parent]; l != nil && l.of == t && l.writers > 0 {
		c := g.grant(t, child, cmp.Or(g.a.opts.ControlLimit, time.Minute))
		c.explicit, c.writers = false, l.writers
	}
}

// written is the tracer that has changed the registers of a task at its present stop.
type written struct {
	tid   int
	stops uint64
	by    *Tracer
}

// first returns an error if a tracer's Func may not write registers at a hit, since another
// tracer's Func has done so at the same stop. It runs on the session's thread.
func (g *group) first(t *Tracer, tid int) error {
	stops := g.s.Stats().Stops
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.wrote; w.by != nil && w.by != t && w.tid == tid && w.stops == stops {
		return fmt.Errorf("task %d: %w: %v has changed its registers at this hit", tid, ErrControl, w.by.id)
	}
	g.wrote = written{tid, stops, t}
	return nil
}
