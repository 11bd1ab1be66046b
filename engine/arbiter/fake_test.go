package arbiter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
)

// fake is a session with programs that do what a test says. Like the real one it
// has one thread, and calls Funcs on it.
type fake struct {
	engine.Shared // what no test here asks for
	*event.Queue
	mu        sync.Mutex // stands for the session's thread
	procs     map[int][]int
	parents   map[int]int
	stopped   map[int]bool // by task
	probes    []*fakeProbe
	removed   []int
	detached  bool
	done      chan struct{}
	wrote     int
	forgotten int
	signals   []int
	follows   map[int]bool
	allow     func(client any, pid int) bool
	stops     atomic.Uint64
	uncounted atomic.Uint64
	busy      map[int]bool // tasks that can't be stopped in time
	away      map[int]bool
	registers map[int]arch.Regs
}

type fakeProbe struct {
	id     event.ProbeID
	client any
	spec   engine.ProbeSpec
	hits   uint64
	gone   bool
}

// newFake has processes pid with tasks pid and pid+1.
func newFake(pids ...int) *fake {
	f := &fake{Queue: event.NewQueue(0), procs: map[int][]int{}, parents: map[int]int{}, stopped: map[int]bool{}, done: make(chan struct{}),
		follows: map[int]bool{}, busy: map[int]bool{}, away: map[int]bool{}, registers: map[int]arch.Regs{}}
	for _, pid := range pids {
		f.procs[pid] = []int{pid, pid + 1}
	}
	return f
}

func (f *fake) Events(ctx context.Context) iter.Seq[event.Event] { return f.Queue.Events(ctx) }
func (f *fake) Poll(ctx context.Context) (event.Event, error)    { return f.Queue.Poll(ctx) }
func (f *fake) Done() <-chan struct{}                            { return f.done }
func (f *fake) Stats() engine.Stats {
	return engine.Stats{Stops: f.stops.Load(), Uncounted: f.uncounted.Load()}
}

// Symbolize knows the processes that are or were in the session, as the real one does.
func (f *fake) Symbolize(pid int, _ arch.Addr) (engine.Symbol, bool) {
	return engine.Symbol{Function: "work"}, f.had(pid)
}

// had reports whether a process has been in the session.
func (f *fake) had(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.follows[pid]
	return ok
}

func (f *fake) AddProcess(pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached {
		return engine.ErrEnded
	}
	f.follows[pid] = false
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

func (f *fake) RegisterFor(client any, spec engine.ProbeSpec) (event.ProbeID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached {
		return 0, engine.ErrEnded
	}
	if spec.Rung == breakpoint.Hardware && f.watches() == 4 {
		return 0, engine.ErrDebug
	}
	if spec.Location == "nowhere" && !spec.Pending {
		return 0, fmt.Errorf("%s: %w", spec.Location, symbols.ErrNotFound)
	}
	p := &fakeProbe{id: event.ProbeID(len(f.probes) + 1), client: client, spec: spec}
	f.probes = append(f.probes, p)
	return p.id, nil
}

func (f *fake) Unregister(id event.ProbeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes[id-1].gone = true
	return nil
}

func (f *fake) Begin(ids ...event.ProbeID) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.probes[id-1].hits = 0
	}
	return 1, nil
}

func (f *fake) Finish(ids ...event.ProbeID) (int64, error) {
	for _, id := range ids {
		_ = f.Unregister(id)
	}
	return 1, nil
}

func (f *fake) Release(id event.ProbeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.probes[id-1].gone {
		return errStillThere
	}
	f.forgotten++
	return nil
}

func (f *fake) Hits(id event.ProbeID) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.probes[id-1].hits
}

func (f *fake) Placements(id event.ProbeID) []engine.Placement {
	if id == 0 {
		var all []engine.Placement
		f.mu.Lock()
		n := len(f.probes)
		f.mu.Unlock()
		for i := range n {
			all = append(all, f.Placements(event.ProbeID(i+1))...)
		}
		return all
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.probes[id-1]
	return []engine.Placement{{Probe: id, PID: p.spec.PID, Name: p.spec.Location, Rung: p.spec.Rung, Hits: p.hits}}
}

// watches is the number of hardware probes.
func (f *fake) watches() (n int) {
	for _, p := range f.probes {
		if !p.gone && p.spec.Rung == breakpoint.Hardware {
			n++
		}
	}
	return n
}

// planted is the number of probes.
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

// plantedIn is the number of probes for a process.
func (f *fake) plantedIn(pid int) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.probes {
		if !p.gone && p.spec.PID == pid {
			n++
		}
	}
	return n
}

func (f *fake) covers(p *fakeProbe, pid int) bool {
	if f.allow != nil && !f.allow(p.client, pid) {
		return false
	}
	for at := pid; at != 0; at = f.parents[at] {
		switch {
		case at == p.spec.PID:
			return at == pid || !p.spec.Alone
		case slices.Contains(p.spec.Except, at):
			return false
		}
	}
	return p.spec.PID == 0
}

// hit makes a task reach a location; it returns false if the task can't.
func (f *fake) hit(pid, tid int, location string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped[tid] || !slices.Contains(f.procs[pid], tid) {
		return false
	}
	f.stops.Add(1)
	for _, p := range f.probes {
		if p.gone || p.spec.Location != location || !f.covers(p, pid) || f.away[pid] {
			continue
		}
		p.hits++
		h := &fakeHit{f: f, pid: pid, tid: tid, p: p}
		switch p.spec.Action {
		case engine.ActionTell:
			at := h.at()
			f.Put(h.event(&at), false)
		case engine.ActionCall:
			p.spec.Func(h)
		case engine.ActionStop:
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

func (h *fakeHit) at() event.Hit { return event.Hit{Probe: h.p.id, Location: h.p.spec.Location} }

func (h *fakeHit) event(b event.Body) *event.Event {
	return &event.Event{PID: h.pid, TID: h.tid, Body: b}
}

// Stop implements engine.Hit.
func (h *fakeHit) Stop() {
	h.f.stopped[h.tid] = true
	h.f.Put(h.event(&event.Stopped{Hit: h.at()}), true)
}

func (h *fakeHit) PID() int                 { return h.pid }
func (h *fakeHit) TID() int                 { return h.tid }
func (h *fakeHit) SetRegisters(r arch.Regs) { h.f.wrote++; h.f.registers[h.tid] = r }
func (h *fakeHit) Location() string         { return h.p.spec.Location }
func (h *fakeHit) Addr() arch.Addr          { return 0 }

func (f *fake) Interrupt(pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.procs[pid] == nil {
		return engine.ErrNoProcess
	}
	var err error
	for _, tid := range f.procs[pid] {
		if f.busy[tid] {
			err = errFakeBusy
			continue
		}
		f.stopped[tid] = true
		f.Put(&event.Event{PID: pid, TID: tid, Body: &event.Stopped{}}, true)
	}
	return err
}

var errFakeBusy = errors.New("busy")

func (f *fake) InterruptTask(tid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.process(tid) == 0 {
		return engine.ErrGone
	}
	f.stopped[tid] = true
	return nil
}

// process returns the process of a task.
func (f *fake) process(tid int) int {
	for pid, tids := range f.procs {
		if slices.Contains(tids, tid) {
			return pid
		}
	}
	return 0
}

func (f *fake) Step(tid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped[tid] {
		return engine.ErrNotStopped
	}
	f.wrote++
	return nil
}

func (f *fake) Signal(id, signal int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signals = append(f.signals, signal)
	return nil
}

func (f *fake) DropSignal(int) error { return nil }

func (f *fake) Follow(pid int, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.follows[pid] = on
	return nil
}

func (f *fake) StepAside(pid int, _ time.Duration, opts ...engine.AsideOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away[pid] = true
	for _, tid := range f.procs[pid] {
		delete(f.stopped, tid)
	}
	f.Put(&event.Event{PID: pid, Body: &event.Released{}}, true)
	return nil
}

func (f *fake) Registers(tid int) (arch.Regs, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.registers[tid], nil
}

func (f *fake) SetRegisters(tid int, r arch.Regs) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote++
	f.registers[tid] = r
	return nil
}

func (f *fake) ResumeTaskIf(id int, ok func() bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached {
		return engine.ErrEnded
	}
	if !ok() {
		return nil
	}
	if !f.stopped[id] && !f.busy[id] {
		return engine.ErrNotStopped
	}
	delete(f.stopped, id)
	delete(f.busy, id)
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

// exec makes a process execute another program.
func (f *fake) exec(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Put(&event.Event{PID: pid, TID: pid, Body: &event.Exec{}}, true)
}

// fork gives pid a child, which is in the session if pid is followed.
func (f *fake) fork(pid, child int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.follows[pid] || f.procs[pid] == nil {
		return
	}
	f.procs[child], f.parents[child], f.follows[child] = []int{child, child + 1}, pid, true
	f.Put(&event.Event{PID: pid, TID: pid, Body: &event.Fork{Child: child}}, false)
}

// exit ends a process.
func (f *fake) exit(pid, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Put(&event.Event{PID: pid, Body: &event.Exit{Status: status}}, true)
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
	fakes []*fake
}

var errTwice = errors.New("attached twice")

func newWorld(o Options) *world {
	w := &world{}
	o.Attach = func(pid int, eo engine.SharedOptions) (engine.Shared, error) {
		if f := w.of(pid); f != nil && slices.Contains(f.Processes(), pid) {
			return nil, errTwice
		}
		f := newFake(pid)
		f.allow, f.follows[pid] = eo.Allow, eo.Follow
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fakes = append(w.fakes, f)
		return f, nil
	}
	if o.ProcessOf == nil {
		o.ProcessOf = func(tid int) int { return tid &^ 1 } // a process's tasks are pid and pid+1
	}
	w.Arbiter = New(o)
	return w
}

// of returns the session that has a process, or had it last.
func (w *world) of(pid int) (last *fake) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.fakes {
		if slices.Contains(f.Processes(), pid) {
			return f
		}
		if f.had(pid) {
			last = f
		}
	}
	return last
}
