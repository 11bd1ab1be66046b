package arbiter

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// hold is a tracer's request that a task stays stopped.
type hold struct {
	pid          int
	since, until time.Time
	timer        *time.Timer
}

// end stops the hold's timer.
func (h *hold) end() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// hold records that t has a task stopped; it returns false if t has ended. On the session's thread
// it is called before the task can be resumed.
func (g *group) hold(t *Tracer, pid, tid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.isEnded() {
		return false
	}
	if g.holds[tid] == nil {
		g.holds[tid] = map[*Tracer]*hold{}
	}
	if old := g.holds[tid][t]; old != nil {
		old.end()
	}
	h := &hold{pid: pid, since: time.Now()}
	if limit := g.a.opts.HoldLimit; limit > 0 {
		h.until = h.since.Add(limit)
		h.timer = time.AfterFunc(limit, func() { g.expire(t, tid, h) })
	}
	g.holds[tid][t] = h
	return true
}

// expire ends a hold that has reached its time limit, and names its owner.
func (g *group) expire(t *Tracer, tid int, h *hold) {
	over := false
	_ = g.releaseHolds(t, func(o *hold) bool { over = over || o == h; return o == h })
	if over {
		t.late.Store(true)
		g.warn(h.pid, tid, "%v has held task %d for %v: it goes on, and is not stopped for that one until it asks for something", t.id, tid, g.a.opts.HoldLimit)
	}
}

// releaseHolds ends the holds of a tracer that which picks; tasks without any holds left are
// resumed.
func (g *group) releaseHolds(t *Tracer, which func(*hold) bool) error {
	_, err := g.release(t, func(_ int, h *hold) bool { return which(h) })
	return err
}

func (g *group) release(t *Tracer, which func(tid int, h *hold) bool) (n int, err error) {
	g.control.Lock()
	defer g.control.Unlock()
	var free []int
	g.mu.Lock()
	for tid, hs := range g.holds {
		h := hs[t]
		if h == nil || !which(tid, h) {
			continue
		}
		n++
		h.end()
		if delete(hs, t); len(hs) == 0 {
			delete(g.holds, tid)
			free = append(free, tid)
		}
		g.settle(t, h.pid)
	}
	g.mu.Unlock()
	var errs []error
	for _, tid := range free {
		err := g.s.ResumeTaskIf(tid, func() bool { return !g.held(tid) })
		if err != nil && !isOver(err) {
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// dropHolds forgets all holds of the tasks of a process that which picks: these tasks do not exist
// any more, or are not traced here any more.
func (g *group) dropHolds(pid int, which func(tid int) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for tid, hs := range g.holds {
		for t, h := range hs {
			if h.pid == pid && which(tid) {
				h.end()
				delete(hs, t)
				g.settle(t, pid)
			}
		}
		if len(hs) == 0 {
			delete(g.holds, tid)
		}
	}
}

// held reports whether any tracer holds a task.
func (g *group) held(tid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.holds[tid]) > 0
}

// holdsAny reports whether a tracer holds any task of a process. The lock is held.
func (g *group) holdsAny(t *Tracer, pid int) bool {
	for _, hs := range g.holds {
		if h := hs[t]; h != nil && h.pid == pid {
			return true
		}
	}
	return false
}

// alone returns an error if another tracer than t holds a task that which picks.
func (g *group) alone(t *Tracer, which func(tid int, h *hold) bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var others []*Tracer
	for tid, hs := range g.holds {
		for u, h := range hs {
			if u != t && which(tid, h) && !slices.Contains(others, u) {
				others = append(others, u)
			}
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("%w: %s", ErrHeld, names(others))
	}
	return nil
}

// Interrupt implements engine.Session: the tracer then holds all tasks, including those that could
// not be stopped in time, as soon as they stop.
func (t *Tracer) Interrupt(pid int) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	g.control.Lock()
	defer g.control.Unlock()
	err = g.s.Interrupt(pid)
	tasks, err2 := g.s.Tasks(pid)
	for _, task := range tasks {
		g.keep(t, pid, &task)
	}
	if t.isEnded() {
		err2 = engine.ErrEnded
	}
	return errors.Join(err, err2)
}

// keep makes a tracer hold a task that the session has stopped, and tells the tracer.
func (g *group) keep(t *Tracer, pid int, task *engine.Task) {
	if !g.hold(t, pid, task.TID) {
		_ = g.s.ResumeTaskIf(task.TID, func() bool { return !g.held(task.TID) })
		return
	}
	if task.Stopped {
		note(t, pid, task.TID, &event.Stopped{Hit: event.Hit{Addr: task.PC}, Signal: task.Signal})
	}
}

// InterruptTask implements engine.Session: the tracer then holds the task.
func (t *Tracer) InterruptTask(tid int) error {
	g, pid, err := t.mayTask(tid)
	if err != nil {
		return err
	}
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.s.InterruptTask(tid); err != nil {
		return err
	}
	return g.stands(t, pid, tid)
}

// stands makes a tracer hold a task that is stopped. The control lock is held.
func (g *group) stands(t *Tracer, pid, tid int) error {
	task := engine.Task{TID: tid, Stopped: true}
	tasks, err := g.s.Tasks(pid)
	for _, x := range tasks {
		if x.TID == tid {
			task = x
		}
	}
	g.keep(t, pid, &task)
	if err == nil && t.isEnded() {
		err = engine.ErrEnded
	}
	return err
}

// Resume implements engine.Session: the tracer releases one task, or all tasks of a process, that
// it holds. A task is resumed when no other tracer holds it.
func (t *Tracer) Resume(id int) error {
	process := t.sees(id)
	return t.letGo(process, func(tid int, h *hold) bool { return tid == id || process && h.pid == id })
}

// ResumeTask implements engine.Session.
func (t *Tracer) ResumeTask(tid int) error {
	return t.letGo(false, func(id int, _ *hold) bool { return id == tid })
}

// letGo ends holds of a tracer's. It is an error if there are none, unless none is set.
func (t *Tracer) letGo(none bool, which func(int, *hold) bool) error {
	t.late.Store(false)
	n := 0
	var errs []error
	for _, g := range t.in() {
		k, err := g.release(t, which)
		n, errs = n+k, append(errs, err)
	}
	if n == 0 && !none {
		errs = append(errs, engine.ErrNotStopped)
	}
	return errors.Join(errs...)
}

// Step implements engine.Session. It is a write, and fails while another tracer holds the task.
func (t *Tracer) Step(tid int) error {
	g, pid, err := t.mayTask(tid)
	if err != nil {
		return err
	}
	return g.write(t, pid, func() error {
		g.control.Lock()
		defer g.control.Unlock()
		mine := false
		err := g.alone(t, func(id int, _ *hold) bool { return id == tid })
		g.mu.Lock()
		mine = g.holds[tid][t] != nil
		g.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("step task %d: %w", tid, err)
		case !mine:
			return fmt.Errorf("step task %d: %w", tid, engine.ErrNotStopped)
		}
		err = g.s.Step(tid)
		if errors.Is(err, engine.ErrGone) {
			g.dropHolds(pid, func(id int) bool { return id == tid })
			return err
		}
		return errors.Join(err, g.stands(t, pid, tid))
	})
}

// Registers implements engine.Session.
func (t *Tracer) Registers(tid int) (r arch.Regs, err error) {
	g, _, err := t.mayTask(tid)
	if err != nil {
		return r, err
	}
	return g.s.Registers(tid)
}

// Tasks implements engine.Session.
func (t *Tracer) Tasks(pid int) ([]engine.Task, error) {
	g, err := t.may(pid)
	if err != nil {
		return nil, err
	}
	return g.s.Tasks(pid)
}

// ReadMemory implements engine.Session.
func (t *Tracer) ReadMemory(pid int, addr arch.Addr, buf []byte) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	return g.s.ReadMemory(pid, addr, buf)
}
