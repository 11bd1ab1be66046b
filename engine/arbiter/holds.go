package arbiter

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// hold is a tracer's wish that a task stands.
type hold struct {
	pid          int
	since, until time.Time
	timer        *time.Timer
}

// end stops the hold's clock.
func (h *hold) end() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// hold notes that t has a task stopped; it is false if t is gone. On the
// session's thread this is before the task can be asked to go on.
func (g *group) hold(t *Tracer, pid, tid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.ended {
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

// expire ends a hold whose time is over, and says whose it was.
func (g *group) expire(t *Tracer, tid int, h *hold) {
	over := false
	_ = g.releaseHolds(t, func(o *hold) bool { over = over || o == h; return o == h })
	if over {
		g.tell(h.pid, event.Warning, tid, "%v has held task %d for %v: it goes on", t.id, tid, g.a.opts.HoldLimit)
	}
}

// releaseHolds ends those of a tracer's holds that which picks; tasks that
// nobody holds any more go on.
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
	}
	g.mu.Unlock()
	var errs []error
	for _, tid := range free {
		err := g.s.ResumeTask(tid, func() bool { return !g.held(tid) })
		if err != nil && !errors.Is(err, engine.ErrEnded) && !errors.Is(err, engine.ErrNotStopped) && !errors.Is(err, engine.ErrGone) {
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// held is whether anybody holds a task.
func (g *group) held(tid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.holds[tid]) > 0
}

// Interrupt implements engine.Session: the tracer holds all tasks then.
func (t *Tracer) Interrupt(pid int) error {
	if err := t.may(pid); err != nil {
		return err
	}
	g := t.g
	g.control.Lock()
	defer g.control.Unlock()
	err := g.s.Interrupt(pid)
	tasks, err2 := g.s.Tasks(pid)
	gone := false
	for _, task := range tasks {
		if !task.Stopped {
			continue
		}
		if !g.hold(t, pid, task.TID) {
			gone = true
			_ = g.s.ResumeTask(task.TID, func() bool { return !g.held(task.TID) })
			continue
		}
		t.Put(&event.Event{Kind: event.Stopped, Time: engine.Now(), PID: pid, TID: task.TID, Addr: task.PC}, true)
	}
	if gone {
		return engine.ErrEnded
	}
	return errors.Join(err, err2)
}

// Resume implements engine.Session: the tracer lets go of a task, or of all of a
// process, that it holds. They go on when nobody else holds them.
func (t *Tracer) Resume(id int) error {
	return t.resumeIf(id, func() bool { return true })
}

// resumeIf is Resume if ok says so.
func (t *Tracer) resumeIf(id int, ok func() bool) error {
	if !ok() {
		return nil
	}
	process := t.sees(id)
	n, err := t.g.release(t, func(tid int, h *hold) bool { return tid == id || process && h.pid == id })
	if err == nil && n == 0 && !process {
		err = engine.ErrNotStopped
	}
	return err
}

// processOf is the process of a task, 0 if there is none.
func processOf(tid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}
