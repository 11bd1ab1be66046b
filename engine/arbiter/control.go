package arbiter

import (
	"fmt"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// lease is a tracer's control of a process: it alone writes registers and
// memory until its end.
type lease struct {
	of    *Tracer
	until time.Time
	timer *time.Timer
}

// Control makes the tracer the only one that writes a process's registers and
// memory, for a time, at most Options.ControlLimit; again, to have it longer. If
// another has it, the error is ErrControl and that one is told who asked; with
// force it is taken over, which only the same user and root may.
func (t *Tracer) Control(pid int, d time.Duration, force bool) error {
	if err := t.may(pid); err != nil {
		return err
	}
	if most := t.a.opts.ControlLimit; d <= 0 || d > most {
		d = most
	}
	g := t.g
	g.mu.Lock()
	old := g.leases[pid]
	switch {
	case t.ended:
		g.mu.Unlock()
		return engine.ErrEnded
	case old == nil || old.of == t:
	case !force || t.id.UID != 0 && t.id.UID != old.of.id.UID:
		g.note(old.of, pid, "%v asks for control of process %d", t.id, pid)
		g.mu.Unlock()
		return fmt.Errorf("process %d: %w: %v, until %s", pid, ErrControl, old.of.id, old.until.Format(time.TimeOnly))
	default:
		g.note(old.of, pid, "%v has taken control of process %d over", t.id, pid)
	}
	defer g.mu.Unlock()
	if old != nil {
		old.timer.Stop()
	}
	l := &lease{of: t, until: time.Now().Add(d)}
	l.timer = time.AfterFunc(d, func() { g.endLease(pid, l) })
	g.leases[pid] = l
	return nil
}

// note tells one tracer something about control. The lock is held.
func (g *group) note(t *Tracer, pid int, format string, args ...any) {
	t.Put(&event.Event{Kind: event.Warning, Time: engine.Now(), PID: pid, Text: fmt.Sprintf(format, args...)}, true)
}

// Yield gives control of a process up. Who has none gives nothing up.
func (t *Tracer) Yield(pid int) { t.g.endLeases(t, pid) }

// endLease ends a lease whose time is over.
func (g *group) endLease(pid int, l *lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leases[pid] == l {
		delete(g.leases, pid)
		g.note(l.of, pid, "control of process %d is over", pid)
	}
}

// endLeases ends a tracer's control of a process, of all with pid 0.
func (g *group) endLeases(t *Tracer, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, l := range g.leases {
		if l.of == t && (pid == 0 || p == pid) {
			l.timer.Stop()
			delete(g.leases, p)
		}
	}
}

// controls is the error of a write to a process that another controls.
func (t *Tracer) controls(pid int) error {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if l := t.g.leases[pid]; l != nil && l.of != t {
		return fmt.Errorf("process %d: %w: %v, until %s", pid, ErrControl, l.of.id, l.until.Format(time.TimeOnly))
	}
	return nil
}

// Tasks implements engine.Session.
func (t *Tracer) Tasks(pid int) ([]engine.Task, error) {
	if err := t.may(pid); err != nil {
		return nil, err
	}
	return t.g.s.Tasks(pid)
}

// Registers implements engine.Session.
func (t *Tracer) Registers(tid int) (r arch.Regs, err error) {
	if _, err := t.mayTask(tid); err != nil {
		return r, err
	}
	return t.g.s.Registers(tid)
}

// SetRegisters implements engine.Session. It needs that no other tracer controls
// the process.
func (t *Tracer) SetRegisters(tid int, r arch.Regs) error {
	pid, err := t.mayTask(tid)
	if err == nil {
		err = t.controls(pid)
	}
	if err != nil {
		return err
	}
	return t.g.s.SetRegisters(tid, r)
}

// ReadMemory implements engine.Session.
func (t *Tracer) ReadMemory(pid int, addr arch.Addr, buf []byte) error {
	if err := t.may(pid); err != nil {
		return err
	}
	return t.g.s.ReadMemory(pid, addr, buf)
}

// WriteMemory implements engine.Session. It needs that no other tracer controls
// the process.
func (t *Tracer) WriteMemory(pid int, addr arch.Addr, data []byte) error {
	err := t.may(pid)
	if err == nil {
		err = t.controls(pid)
	}
	if err != nil {
		return err
	}
	return t.g.s.WriteMemory(pid, addr, data)
}
