package arbiter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
)

// fake is a session whose programs do what a test says. Like the real one it
// has one thread, and calls Funcs on it.
type fake struct {
	engine.Session // what nobody here asks for
	*event.Queue
	mu       sync.Mutex // is the thread
	procs    map[int][]int
	parents  map[int]int
	stopped  map[int]bool // by task
	probes   []*fakeProbe
	removed  []int
	detached bool
	done     chan struct{}
	wrote    int
}

type fakeProbe struct {
	id   event.ProbeID
	spec engine.ProbeSpec
	hits uint64
	gone bool
}

// newFake has processes pid with tasks pid and pid+1.
func newFake(pids ...int) *fake {
	f := &fake{Queue: event.NewQueue(0), procs: map[int][]int{}, parents: map[int]int{}, stopped: map[int]bool{}, done: make(chan struct{})}
	for _, pid := range pids {
		f.procs[pid] = []int{pid, pid + 1}
	}
	return f
}

func (f *fake) Events(ctx context.Context) iter.Seq[event.Event]   { return f.Queue.Events(ctx) }
func (f *fake) Poll(ctx context.Context) (event.Event, error)      { return f.Queue.Poll(ctx) }
func (f *fake) Done() <-chan struct{}                              { return f.done }
func (f *fake) Stats() engine.Stats                                { return engine.Stats{} }
func (f *fake) Symbolize(int, arch.Addr) (s engine.Symbol, b bool) { return s, false }

func (f *fake) AddProcess(pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[pid] = []int{pid, pid + 1}
	return nil
}

func (f *fake) RemoveProcess(pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.procs[pid] == nil {
		return engine.ErrNoProcess
	}
	f.removed = append(f.removed, pid)
	f.drop(pid)
	return nil
}

// drop forgets a process; the session ends with the last.
func (f *fake) drop(pid int) {
	for _, tid := range f.procs[pid] {
		delete(f.stopped, tid)
	}
	if delete(f.procs, pid); len(f.procs) == 0 && !f.detached {
		f.detached = true
		f.End()
		close(f.done)
	}
}

func (f *fake) Detach() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pid := range f.procs {
		f.drop(pid)
	}
	return nil
}

func (f *fake) Processes() (pids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pid := range f.procs {
		pids = append(pids, pid)
	}
	return pids
}

func (f *fake) Register(spec engine.ProbeSpec) (event.ProbeID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached {
		return 0, engine.ErrEnded
	}
	if spec.Location == "nowhere" && !spec.Pending {
		return 0, fmt.Errorf("%s: %w", spec.Location, symbols.ErrNotFound)
	}
	p := &fakeProbe{id: event.ProbeID(len(f.probes) + 1), spec: spec}
	f.probes = append(f.probes, p)
	return p.id, nil
}

func (f *fake) Unregister(id event.ProbeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes[id-1].gone = true
	return nil
}

func (f *fake) Hits(id event.ProbeID) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.probes[id-1].hits
}

func (f *fake) Placements(id event.ProbeID) []engine.Placement {
	return []engine.Placement{{Probe: id, PID: f.probes[id-1].spec.PID, Name: f.probes[id-1].spec.Location, Hits: f.Hits(id)}}
}

// planted is how many probes there are.
func (f *fake) planted() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.probes {
		if !p.gone {
			n++
		}
	}
	return n
}

func (f *fake) covers(p *fakeProbe, pid int) bool {
	for ; pid != 0; pid = f.parents[pid] {
		if p.spec.PID == 0 || p.spec.PID == pid {
			return true
		}
	}
	return false
}

// hit has a task come to a location; it is false if the task can't.
func (f *fake) hit(pid, tid int, location string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped[tid] || !slices.Contains(f.procs[pid], tid) {
		return false
	}
	for _, p := range f.probes {
		if p.gone || p.spec.Location != location || !f.covers(p, pid) {
			continue
		}
		p.hits++
		h := &fakeHit{f: f, pid: pid, tid: tid, p: p}
		switch p.spec.Action {
		case engine.Tell:
			f.Put(h.event(event.Hit), false)
		case engine.Call:
			p.spec.Func(h)
		case engine.Stop:
			panic("a stop that nobody counts")
		}
	}
	return true
}

type fakeHit struct {
	engine.Hit
	f        *fake
	pid, tid int
	p        *fakeProbe
}

func (h *fakeHit) event(k event.Kind) *event.Event {
	return &event.Event{Kind: k, PID: h.pid, TID: h.tid, Probe: h.p.id, Location: h.p.spec.Location}
}
func (h *fakeHit) PID() int                 { return h.pid }
func (h *fakeHit) TID() int                 { return h.tid }
func (h *fakeHit) Stop()                    { h.f.stopped[h.tid] = true; h.f.Put(h.event(event.Stopped), true) }
func (h *fakeHit) SetRegisters(r arch.Regs) { h.f.wrote++ }

func (f *fake) Interrupt(pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.procs[pid] == nil {
		return engine.ErrNoProcess
	}
	for _, tid := range f.procs[pid] {
		f.stopped[tid] = true
		f.Put(&event.Event{Kind: event.Stopped, PID: pid, TID: tid}, true)
	}
	return nil
}

func (f *fake) ResumeTask(id int, ok func() bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached {
		return engine.ErrEnded
	}
	if !ok() {
		return nil
	}
	if !f.stopped[id] {
		return engine.ErrNotStopped
	}
	delete(f.stopped, id)
	return nil
}

func (f *fake) Tasks(pid int) (list []engine.Task, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, tid := range f.procs[pid] {
		list = append(list, engine.Task{TID: tid, Stopped: f.stopped[tid]})
	}
	return list, nil
}

func (f *fake) WriteMemory(int, arch.Addr, []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote++
	return nil
}

// fork gives pid a child.
func (f *fake) fork(pid, child int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[child], f.parents[child] = []int{child, child + 1}, pid
	f.Put(&event.Event{Kind: event.Fork, PID: pid, TID: pid, Child: child}, false)
}

// exit ends a process.
func (f *fake) exit(pid, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Put(&event.Event{Kind: event.Exit, PID: pid, Status: status}, true)
	f.drop(pid)
}

func (f *fake) running(tid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.stopped[tid]
}

// world makes an arbiter of fake processes; each process is attached to once.
type world struct {
	*Arbiter
	mu    sync.Mutex
	fakes map[int]*fake
}

var errTwice = errors.New("attached twice")

func newWorld(o Options) *world {
	w := &world{fakes: map[int]*fake{}}
	o.Attach = func(pid int, _ engine.Options) (engine.Session, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if f := w.fakes[pid]; f != nil && len(f.Processes()) > 0 {
			return nil, errTwice
		}
		w.fakes[pid] = newFake(pid)
		return w.fakes[pid], nil
	}
	w.Arbiter = New(o)
	return w
}

func (w *world) of(pid int) *fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fakes[pid]
}
