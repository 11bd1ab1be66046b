package arbiter

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/failure"
)

// Tracer is one user of shared sessions, as an engine.Session of its own.
type Tracer struct {
	*event.Queue
	a     *Arbiter
	id    Identity
	nr    int
	opts  engine.Options
	since time.Time
	done  chan struct{}
	end   sync.Once
	// late: a hold of it has expired, and it has made no request since.
	late atomic.Bool
	belongings
}

var _ engine.Session = (*Tracer)(nil)

func newTracer(a *Arbiter, nr int, id Identity, o engine.Options) *Tracer {
	return &Tracer{Queue: event.NewQueue(o.Buffer), a: a, id: id, nr: nr, opts: o, since: time.Now(),
		done: make(chan struct{}), belongings: belongings{view: map[int]*group{}, past: map[int]sight{},
			exits: map[int]engine.Exit{}, uncounted: map[*group]uint64{}}}
}

// allowed returns an error if the tracer does not have the right to trace a process.
func (t *Tracer) allowed(pid int) error {
	if t.id.Allow == nil {
		return nil
	}
	return t.id.Allow(pid)
}

// may returns the group of a process, or an error if the tracer does not see the process or may not
// trace it. A tracer that calls it is not late any more.
func (t *Tracer) may(pid int) (*group, error) {
	t.late.Store(false)
	t.mu.Lock()
	g, ended := t.view[pid], t.ended
	t.mu.Unlock()
	switch {
	case ended:
		return nil, engine.ErrEnded
	case g == nil:
		return nil, fmt.Errorf("%d: %w", pid, engine.ErrNoProcess)
	}
	return g, t.allowed(pid)
}

// mayTask is may for a task's process.
func (t *Tracer) mayTask(tid int) (g *group, pid int, err error) {
	pid = t.a.opts.ProcessOf(tid)
	if pid == 0 || !t.sees(pid) {
		return nil, 0, fmt.Errorf("task %d: %w", tid, engine.ErrGone)
	}
	g, err = t.may(pid)
	return g, pid, err
}

// AddProcess implements engine.Session.
func (t *Tracer) AddProcess(pid int) error {
	if t.sees(pid) {
		return fmt.Errorf("attach to %d: it is in this session already", pid)
	}
	if err := t.add(pid); err != nil {
		return err
	}
	var errs []error
	for _, p := range t.live() {
		if p.spec.PID == 0 {
			if err := p.plant(pid, true); !errors.Is(err, engine.ErrNoProcess) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// tries is how often to look for a process that is being added or removed, pause how long to wait
// in between: a child is announced a moment after it exists.
const (
	tries = 50
	pause = 10 * time.Millisecond
)

// add gives a tracer a process, which is traced already or is attached to.
func (t *Tracer) add(pid int) error {
	if err := t.allowed(pid); err != nil {
		return err
	}
	defer t.a.add(pid)()
	for range tries {
		g, attach, err := t.a.groupFor(pid, t)
		switch {
		case err != nil:
			return err
		case attach && !isClosed(g.ready):
			g.open(pid, t.opts)
		case attach:
			err = g.attach(pid)
		}
		if <-g.ready; err == nil {
			err = g.err
		}
		switch {
		case errors.Is(err, engine.ErrTraced) && t.a.traces(pid):
			if !t.a.ask(pid) {
				time.Sleep(pause)
			}
		case errors.Is(err, engine.ErrEnded):
			<-g.over // the last of its processes has just ended
		case err != nil:
			return err
		case g.admit(t, pid):
			return nil
		case t.isEnded():
			return errors.Join(engine.ErrEnded, g.tidy())
		case g.isEnding():
			<-g.over // the last of the others has just left
		}
	}
	return fmt.Errorf("process %d: %w", pid, engine.ErrGone)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (g *group) isEnding() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ending
}

// traces reports whether a process is traced by one of the arbiter's sessions.
func (a *Arbiter) traces(pid int) bool { return len(a.all()) > 0 && tracedByUs(pid) }

// RemoveProcess implements engine.Session. Other tracers that see the process keep it.
func (t *Tracer) RemoveProcess(pid int) error {
	if _, err := t.may(pid); err != nil {
		return err
	}
	return t.release(pid)
}

// release ends everything that a tracer has in a process. A tracer that loses its last process
// ends.
func (t *Tracer) release(pid int) error {
	t.mu.Lock()
	t.unsee(pid)
	t.roots = slices.DeleteFunc(t.roots, func(root int) bool { return root == pid })
	last := len(t.view) == 0
	probes, groups := slices.Clone(t.probes), slices.Clone(t.groups)
	t.mu.Unlock()
	if last {
		return t.Detach()
	}
	var errs []error
	for _, p := range probes {
		errs = append(errs, p.uproot(pid))
	}
	for _, g := range groups {
		errs = append(errs, g.releaseHolds(t, func(h *hold) bool { return h.pid == pid }))
		g.endLeases(t, pid)
		errs = append(errs, g.tidy())
	}
	return errors.Join(errs...)
}

// Processes implements engine.Session.
func (t *Tracer) Processes() (pids []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.processes()
}

// ISA implements engine.Session.
func (t *Tracer) ISA() arch.ISA {
	if all := t.in(); len(all) > 0 {
		return all[0].s.ISA()
	}
	return nil
}

// Done implements engine.Session.
func (t *Tracer) Done() <-chan struct{} { return t.done }

// Exit implements engine.Session.
func (t *Tracer) Exit(pid int) (engine.Exit, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.exits[pid]
	return e, ok
}

// Stats implements engine.Session: the statistics of the shared sessions, with Missed being this
// tracer's own.
func (t *Tracer) Stats() (sum engine.Stats) {
	for _, g := range t.in() {
		st := g.s.Stats()
		sum.Stops, sum.Hits, sum.Pause = sum.Stops+st.Stops, sum.Hits+st.Hits, max(sum.Pause, st.Pause)
		sum.Uncounted += st.Uncounted - t.uncountedBefore(g)
	}
	sum.Missed = t.Total()
	return sum
}

// Symbolize implements engine.Session.
func (t *Tracer) Symbolize(pid int, addr arch.Addr) (engine.Symbol, bool) {
	g := t.saw(pid, t.allowed)
	if g == nil {
		var err error
		if g, err = t.may(pid); err != nil {
			return engine.Symbol{}, false
		}
	}
	return g.s.Symbolize(pid, addr)
}

// Follow implements engine.Session. It fails: whether a tracer follows children is fixed when it
// joins.
func (t *Tracer) Follow(int, bool) error {
	return &failure.Unsupported{What: "to follow a process's children, for a tracer that is there", Needs: "Options.Follow when it joins"}
}

// Leave implements engine.Session. It fails: shared probes can't be left behind.
func (t *Tracer) Leave() error { return errResident }

// Kill implements engine.Session. The arbiter starts no processes, so Kill is Detach. To end a
// traced process, the caller sends it a Signal.
func (t *Tracer) Kill() error { return t.Detach() }
