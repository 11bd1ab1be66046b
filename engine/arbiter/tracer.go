package arbiter

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// Tracer is one of those who share a session: an engine.Session of its own.
type Tracer struct {
	*event.Queue
	a     *Arbiter
	g     *group // since it was admitted
	id    Identity
	nr    int
	opts  engine.Options
	since time.Time
	done  chan struct{}
	end   sync.Once

	// All below is behind g.mu.
	roots    []int        // the processes it asked for
	view     map[int]bool // those it sees: roots, and what descends from them
	exits    map[int]engine.Exit
	probes   []*probe // by id-1
	handlers []*openHandler
	ended    bool // it may hold nothing any more
}

var _ engine.Session = (*Tracer)(nil)

func newTracer(a *Arbiter, nr int, id Identity, o engine.Options) *Tracer {
	return &Tracer{Queue: event.NewQueue(o.Buffer), a: a, id: id, nr: nr, opts: o, since: time.Now(),
		done: make(chan struct{}), view: map[int]bool{}, exits: map[int]engine.Exit{}}
}

// TracerInfo tells of a tracer.
type TracerInfo struct {
	ID        int
	Name      string
	PID       int
	UID       uint32
	Since     time.Time
	Processes []int
	Probes    []string // locations
	Handlers  int
	Holds     []Hold
	Controls  []int // processes
	Missed    uint64
}

// Hold is a task that a tracer keeps stopped.
type Hold struct {
	PID, TID int
	Since    time.Time
	Until    time.Time // zero: for ever
}

// Info tells of the tracer.
func (t *Tracer) Info() TracerInfo {
	g := t.g
	g.mu.Lock()
	defer g.mu.Unlock()
	i := TracerInfo{ID: t.nr, Name: t.id.Name, PID: t.id.PID, UID: t.id.UID, Since: t.since,
		Processes: t.processes(), Handlers: len(t.handlers), Missed: t.Total()}
	for _, p := range t.probes {
		if !p.gone {
			i.Probes = append(i.Probes, p.spec.Location)
		}
	}
	for tid, hs := range g.holds {
		if h := hs[t]; h != nil {
			i.Holds = append(i.Holds, Hold{h.pid, tid, h.since, h.until})
		}
	}
	slices.SortFunc(i.Holds, func(x, y Hold) int { return x.TID - y.TID })
	for pid, l := range g.leases {
		if l.of == t {
			i.Controls = append(i.Controls, pid)
		}
	}
	slices.Sort(i.Controls)
	return i
}

// Others are the tracers that share the processes of this one.
func (t *Tracer) Others() (list []TracerInfo) {
	for _, u := range t.g.others(t) {
		list = append(list, u.Info())
	}
	return list
}

// wants is whether a tracer is told an event that is nobody's own.
func (t *Tracer) wants(e *event.Event) bool {
	if e.PID != 0 && !t.view[e.PID] {
		return false
	}
	switch e.Kind {
	case event.Signal:
		return t.opts.Signals
	case event.Fork, event.Clone, event.Exec, event.Library, event.Unload, event.Exit:
		return t.opts.Life
	}
	return true
}

// may is whether the tracer may do something to a process that it sees.
func (t *Tracer) may(pid int) error {
	if !t.sees(pid) {
		return fmt.Errorf("%d: %w", pid, engine.ErrNoProcess)
	}
	if t.id.Allow == nil {
		return nil
	}
	return t.id.Allow(pid)
}

func (t *Tracer) sees(pid int) bool {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	return t.view[pid] && !t.ended
}

// mayTask is may for a task's process.
func (t *Tracer) mayTask(tid int) (pid int, err error) {
	if pid = t.a.opts.ProcessOf(tid); pid == 0 || !t.sees(pid) {
		return 0, fmt.Errorf("%d: %w", tid, engine.ErrNotStopped)
	}
	return pid, t.may(pid)
}

// AddProcess implements engine.Session.
func (t *Tracer) AddProcess(pid int) error {
	if t.id.Allow != nil {
		if err := t.id.Allow(pid); err != nil {
			return err
		}
	}
	t.a.mu.Lock()
	other := t.a.find(pid)
	t.a.mu.Unlock()
	if other != nil && other != t.g {
		return fmt.Errorf("process %d: %w, by %s: give each a tracer of its own", pid, ErrElsewhere, names(other.others(nil)))
	}
	if other == nil {
		if err := t.g.s.AddProcess(pid); err != nil {
			return err
		}
	}
	t.g.mu.Lock()
	if t.ended {
		t.g.mu.Unlock()
		return engine.ErrEnded
	}
	t.roots = append(t.roots, pid)
	t.view[pid] = true
	probes := slices.Clone(t.probes)
	t.g.mu.Unlock()
	var errs []error
	for _, p := range probes {
		if !p.gone && p.spec.PID == 0 {
			errs = append(errs, p.plant(pid, true))
		}
	}
	return errors.Join(errs...)
}

// RemoveProcess implements engine.Session. Others who see the process keep it.
func (t *Tracer) RemoveProcess(pid int) error {
	if err := t.may(pid); err != nil {
		return err
	}
	t.g.mu.Lock()
	delete(t.view, pid)
	t.roots = slices.DeleteFunc(t.roots, func(root int) bool { return root == pid })
	last := len(t.view) == 0
	t.g.mu.Unlock()
	if last {
		return t.Detach()
	}
	err := t.g.releaseHolds(t, func(h *hold) bool { return h.pid == pid })
	for _, p := range t.probes {
		err = errors.Join(err, p.uproot(pid))
	}
	t.g.endLeases(t, pid)
	return errors.Join(err, t.g.letUnseen())
}

// processes are those that the tracer sees. The lock is held.
func (t *Tracer) processes() (pids []int) {
	for pid := range t.view {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// Processes implements engine.Session.
func (t *Tracer) Processes() []int {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	return t.processes()
}

// ISA implements engine.Session.
func (t *Tracer) ISA() arch.ISA { return t.g.s.ISA() }

// Done implements engine.Session.
func (t *Tracer) Done() <-chan struct{} { return t.done }

// Exit implements engine.Session.
func (t *Tracer) Exit(pid int) (engine.Exit, bool) {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	e, ok := t.exits[pid]
	return e, ok
}

// Stats implements engine.Session: those of the session that is shared, but for
// what this tracer has missed.
func (t *Tracer) Stats() engine.Stats {
	st := t.g.s.Stats()
	st.Missed = t.Total()
	return st
}

// Symbolize implements engine.Session.
func (t *Tracer) Symbolize(pid int, addr arch.Addr) (engine.Symbol, bool) {
	t.g.mu.Lock()
	_, was := t.exits[pid]
	t.g.mu.Unlock()
	if !was && t.may(pid) != nil {
		return engine.Symbol{}, false
	}
	return t.g.s.Symbolize(pid, addr)
}

// Leave implements engine.Session: what is shared can't be left behind.
func (t *Tracer) Leave() error {
	return fmt.Errorf("resident probes: %w: they belong to nobody; trace the process directly", errors.ErrUnsupported)
}

// Kill implements engine.Session: a tracer starts no processes here, so that it
// is Detach.
func (t *Tracer) Kill() error { return t.Detach() }

// Detach implements engine.Session: the tracer's probes, handlers, holds and
// control go. Processes that nobody else sees are let go.
func (t *Tracer) Detach() error {
	var err error
	t.end.Do(func() {
		err = t.g.dismiss(t)
		t.leave()
		t.End()
		close(t.done)
	})
	<-t.done
	return err
}

// finish ends a tracer whose session is over.
func (t *Tracer) finish() {
	t.end.Do(func() {
		t.g.forget(t)
		t.leave()
		t.End()
		close(t.done)
	})
}

// leave gives back what a tracer has of its user's quota.
func (t *Tracer) leave() {
	q := Quota{Tracers: -1}
	if t.g != nil {
		t.g.mu.Lock()
		for _, p := range t.probes {
			if !p.gone {
				q.Probes--
			}
		}
		q.Handlers = -len(t.handlers)
		t.g.mu.Unlock()
	}
	_ = t.a.spend(t.id.UID, q)
}

// dismiss takes all that a tracer has away, and lets go what nobody sees any
// more.
func (g *group) dismiss(t *Tracer) error {
	g.mu.Lock()
	t.ended = true // its stops do not hold from now on
	probes, handlers := slices.Clone(t.probes), slices.Clone(t.handlers)
	g.mu.Unlock()
	err := g.releaseHolds(t, func(*hold) bool { return true })
	if len(g.others(t)) > 0 { // else all goes with the session
		for _, p := range probes {
			err = errors.Join(err, p.unregister())
		}
	}
	err = errors.Join(err, g.withdraw(t))
	for _, h := range handlers {
		err = errors.Join(err, h.end())
	}
	return err
}

// withdraw takes a tracer out of its group, and lets go what nobody sees then.
func (g *group) withdraw(t *Tracer) error {
	g.control.Lock()
	defer g.control.Unlock()
	g.forget(t)
	g.mu.Lock()
	last := len(g.tracers) == 0 && !g.ending
	g.ending = g.ending || last
	g.mu.Unlock()
	if last {
		return g.s.Detach()
	}
	return g.letUnseen()
}

// forget takes a tracer out of its group.
func (g *group) forget(t *Tracer) {
	g.endLeases(t, 0)
	g.mu.Lock()
	defer g.mu.Unlock()
	t.ended = true
	clear(t.view)
	g.tracers = slices.DeleteFunc(g.tracers, func(u *Tracer) bool { return u == t })
}

// letUnseen lets the processes go that no tracer sees.
func (g *group) letUnseen() error {
	var errs []error
	for _, pid := range g.s.Processes() {
		g.mu.Lock()
		seen := slices.ContainsFunc(g.tracers, func(t *Tracer) bool { return t.view[pid] })
		g.mu.Unlock()
		if seen {
			continue
		}
		if err := g.s.RemoveProcess(pid); err != nil && !errors.Is(err, engine.ErrNoProcess) && !errors.Is(err, engine.ErrEnded) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
