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

// Control of a process is a lease: its tracer alone writes registers and memory,
// sends signals, steps, and has handlers that write, until its end. There are two
// ways to it. A tracer asks (Tracer.Control), for a time; or it writes where nobody
// has control, and has it then until that is done, and as long after as it holds a
// task of the process or has a writing handler there: what it has read while the
// task stands, nobody else changes before it lets go.

// lease is a tracer's control of a process. All of it is behind group.mu.
type lease struct {
	of       *Tracer
	until    time.Time
	timer    *time.Timer
	explicit bool // asked for
	asked    bool // by another, who did not get it
	wrote    bool
	busy     int // writes that are being done
	writers  int // probes whose handlers write
}

// waiter is a tracer that has asked for control, and waits for it.
type waiter struct {
	t    *Tracer
	d    time.Duration
	done chan struct{} // closed when it has it
}

// Ask says how control is asked for.
type Ask struct {
	Time  time.Duration // how long it is for; 0, or more than there is: Options.ControlLimit
	Wait  time.Duration // how long to wait for who has it
	Force bool          // take it from who has it: of the same user, or by root
}

// Control makes the tracer the only one that writes a process's registers and
// memory, for a time; again, to have it longer. Another who has it is told who
// asks (event.Asked), may Yield, and is waited for as long as Ask says, each in
// turn; then the error is ErrControl. With force it is taken over, with the probes
// whose handlers write.
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
		note(old.of, event.Warning, pid, 0, "%v has taken control of process %d over", t.id, pid)
		return old.of.stopWriting(pid)
	}
	old.asked = true
	w := &waiter{t, ask.Time, make(chan struct{})}
	refused := fmt.Errorf("process %d: %w: %v, %s", pid, ErrControl, old.of.id, old.ends())
	if ask.Wait > 0 {
		g.waiting[pid] = append(g.waiting[pid], w)
	}
	g.mu.Unlock()
	note(old.of, event.Asked, pid, 0, "%v asks for control of process %d", t.id, pid)
	if ask.Wait <= 0 {
		return refused
	}
	return g.wait(ctx, pid, w, ask.Wait, refused)
}

// wait waits for control to be passed on.
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

// ends says when a lease ends.
func (l *lease) ends() string {
	if !l.explicit {
		return "until it lets go of the process"
	}
	return "until " + l.until.Format(time.TimeOnly)
}

// grant gives a tracer control, or for longer. The lock is held.
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

// write runs f for a tracer who has control of a process, or gets it for that.
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

// leaseFor gives a tracer control of a process if nobody else has it. The lock is
// held.
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

// settle ends control that was taken by a write, when there is nothing that it
// is for any more. The lock is held.
func (g *group) settle(t *Tracer, pid int) {
	l := g.leases[pid]
	if l != nil && l.of == t && !l.explicit && l.busy == 0 && l.writers == 0 && !(l.wrote && g.holdsAny(t, pid)) {
		g.endLease(pid)
	}
}

// endLease ends control of a process, which goes to the first who waits for it.
// The lock is held.
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

// dropLease forgets a process's lease, and who waits for it. The lock is held.
func (g *group) dropLease(pid int) {
	if l := g.leases[pid]; l != nil {
		l.timer.Stop()
		delete(g.leases, pid)
	}
	delete(g.waiting, pid)
}

// lapse is at the end of a lease's time. With handlers that write it goes on for
// as long as nobody else has asked.
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
	note(l.of, event.Warning, pid, 0, "control of process %d is over", pid)
}

// Yield gives control of a process up, to who waits for it. Probes whose handlers
// write go.
func (t *Tracer) Yield(pid int) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	err = t.stopWriting(pid)
	g.endLeases(t, pid)
	return err
}

// endLeases ends a tracer's control of a process, of all with pid 0.
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

// stopWriting takes the probes from a process whose handlers write: their tracer
// has no control any more.
func (t *Tracer) stopWriting(pid int) error {
	var errs []error
	for _, p := range t.live() {
		if p.writes && p.isIn(pid) {
			note(t, event.Warning, pid, 0, "the handler of %s writes: it is gone from process %d, with control", p.spec.Location, pid)
			errs = append(errs, p.uproot(pid))
		}
	}
	return errors.Join(errs...)
}

// inherit gives who controls a process by handlers that write its child, too, in
// which they are. The lock is held.
func (g *group) inherit(t *Tracer, parent, child int) {
	if l := g.leases[parent]; l != nil && l.of == t && l.writers > 0 {
		c := g.grant(t, child, cmp.Or(g.a.opts.ControlLimit, time.Minute))
		c.explicit, c.writers = false, l.writers
	}
}

// written is who has changed the registers of a task at the stop that it is at.
type written struct {
	tid   int
	stops uint64
	by    *Tracer
}

// first is whether a tracer's Func may write registers at a hit: another's may have
// done so at this very stop. It runs on the session's thread.
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
