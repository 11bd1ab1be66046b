package arbiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols"
)

func TestMain(m *testing.M) { leak.Main(m) }

func join(t testing.TB, a *Arbiter, pid int, name string, o ...engine.Options) *Tracer {
	t.Helper()
	o = append(o, engine.Options{})
	tr, err := a.Join(pid, Identity{Name: name, PID: 1, UID: 1}, o[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Detach() })
	return tr
}

func register(t testing.TB, tr *Tracer, spec engine.ProbeSpec) event.ProbeID {
	t.Helper()
	id, err := tr.Register(spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// next is the next event of a kind.
func next(t testing.TB, tr *Tracer, k event.Kind) event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		e, err := tr.Poll(ctx)
		if err != nil {
			t.Fatalf("waiting for %v: %v", k, err)
		}
		if e.Kind == k {
			return e
		}
	}
}

// told are the events that a tracer has been told until it ended, by kind.
func told(tr *Tracer) map[event.Kind]int {
	n := map[event.Kind]int{}
	for e := range tr.Events(context.Background()) {
		n[e.Kind]++
	}
	return n
}

// TestOwnEvents has two tracers with one probe in common: each is told its own
// hits, by its own names for its probes.
func TestOwnEvents(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b", engine.Options{Life: true})
	tell := func(l string) engine.ProbeSpec { return engine.ProbeSpec{Location: l, Action: engine.Tell} }
	a1 := register(t, a, tell("one"))
	register(t, b, tell("other"))
	b2 := register(t, b, tell("one"))
	f := w.of(10)
	f.hit(10, 10, "one")
	if e := next(t, a, event.Hit); e.Probe != a1 {
		t.Errorf("a: probe %d, want %d", e.Probe, a1)
	}
	if e := next(t, b, event.Hit); e.Probe != b2 || e.Location != "one" {
		t.Errorf("b: probe %d at %s, want %d", e.Probe, e.Location, b2)
	}
	if err := a.Unregister(a1); err != nil {
		t.Error(err)
	}
	f.hit(10, 10, "one")
	if a.Hits(a1) != 1 || b.Hits(b2) != 2 || len(b.Placements(0)) != 2 || b.Placements(b2)[0].Probe != b2 {
		t.Errorf("%d and %d hits, %v", a.Hits(a1), b.Hits(b2), b.Placements(0))
	}
	f.exit(10, 3)
	if got := told(a); got[event.Hit] != 0 || got[event.Exit] != 0 {
		t.Errorf("a, which did not ask, was told %v", got)
	}
	if got := told(b); got[event.Hit] != 1 || got[event.Exit] != 1 {
		t.Errorf("b was told %v", got)
	}
	if e, ok := a.Exit(10); !ok || e.Status != 3 {
		t.Errorf("exit %v %v", e, ok)
	}
}

// TestHolds has a task that two tracers have stopped go on with the last.
func TestHolds(t *testing.T) {
	w := newWorld(Options{})
	a, b, c := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b"), join(t, w.Arbiter, 10, "c")
	register(t, a, engine.ProbeSpec{Location: "one", Action: engine.Stop})
	register(t, b, engine.ProbeSpec{Location: "one", Action: engine.Call, Func: func(h engine.Hit) { h.Stop() }})
	f := w.of(10)
	f.hit(10, 11, "one")
	next(t, a, event.Stopped)
	next(t, b, event.Stopped)
	if err := c.Resume(11); !errors.Is(err, engine.ErrNotStopped) {
		t.Errorf("resumed by one who does not hold: %v", err)
	}
	if err := a.Resume(11); err != nil || f.running(11) {
		t.Errorf("%v, running %v: b holds it", err, f.running(11))
	}
	if err := c.Interrupt(10); err != nil {
		t.Error(err)
	}
	if err := b.Resume(10); err != nil || f.running(11) || f.running(10) {
		t.Errorf("%v, running %v: c holds it", err, f.running(11))
	}
	if e := next(t, c, event.Stopped); e.Probe != 0 || e.PID != 10 {
		t.Errorf("told %+v", e)
	}
	if holds := c.Info().Holds; len(holds) != 2 || holds[1].TID != 11 {
		t.Errorf("holds %v", holds)
	}
	if err := c.Detach(); err != nil || !f.running(11) || !f.running(10) {
		t.Errorf("%v, running %v: nobody holds it", err, f.running(11))
	}
}

// TestHoldEnds has a tracer that hangs lose its hold, and be named.
func TestHoldEnds(t *testing.T) {
	w := newWorld(Options{HoldLimit: time.Millisecond})
	a, b := join(t, w.Arbiter, 10, "sleepy"), join(t, w.Arbiter, 10, "b")
	register(t, a, engine.ProbeSpec{Location: "one", Action: engine.Stop})
	w.of(10).hit(10, 10, "one")
	if e := next(t, b, event.Warning); !strings.Contains(e.Text, "sleepy (process 1) has held task 10 for 1ms") || !w.of(10).running(10) {
		t.Errorf("told %q, running %v", e.Text, w.of(10).running(10))
	}
}

// TestControl has one tracer write at a time.
func TestControl(t *testing.T) {
	w := newWorld(Options{ProcessOf: func(int) int { return 10 }})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b")
	f := w.of(10)
	write := func(tr *Tracer) error { return tr.WriteMemory(10, 0, nil) }
	if err := write(a); err != nil {
		t.Errorf("nobody controls it: %v", err)
	}
	if err := a.Control(10, time.Hour, false); err != nil {
		t.Fatal(err)
	}
	if err := write(b); !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), "a (process 1)") {
		t.Errorf("b wrote: %v", err)
	}
	if err := write(a); err != nil {
		t.Error(err)
	}
	register(t, b, engine.ProbeSpec{Location: "one", Action: engine.Call, Func: func(h engine.Hit) { h.SetRegisters(arch.Regs{}) }})
	f.hit(10, 10, "one")
	if e := next(t, b, event.Warning); !strings.Contains(e.Text, "controls") || f.wrote != 2 {
		t.Errorf("told %q, %d writes", e.Text, f.wrote)
	}
	if err := b.Control(10, 0, false); !errors.Is(err, ErrControl) {
		t.Errorf("b got control: %v", err)
	}
	if e := next(t, a, event.Warning); !strings.Contains(e.Text, "b (process 1) asks for control") {
		t.Errorf("told %q", e.Text)
	}
	if err := b.Control(10, 0, true); err != nil {
		t.Error(err)
	}
	if err := write(a); !errors.Is(err, ErrControl) {
		t.Errorf("a wrote: %v", err)
	}
	b.Yield(10)
	if err := a.Control(10, time.Nanosecond, false); err != nil {
		t.Error(err)
	}
	if e := next(t, a, event.Warning); !strings.Contains(e.Text, "taken control") {
		t.Errorf("told %q", e.Text)
	}
	if e := next(t, a, event.Warning); !strings.Contains(e.Text, "is over") || write(b) != nil {
		t.Errorf("told %q", e.Text)
	}
	if err := b.Control(10, 0, false); err != nil {
		t.Error(err)
	}
	_ = b.Detach()
	if err := write(a); err != nil {
		t.Errorf("the one that controlled is gone: %v", err)
	}
	other, err := w.Join(10, Identity{Name: "other", UID: 2}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Control(10, 0, false)
	if err := other.Control(10, 0, true); !errors.Is(err, ErrControl) {
		t.Errorf("another user took control: %v", err)
	}
	_ = other.Detach()
}

// TestViews has tracers of different processes of one session see their own.
func TestViews(t *testing.T) {
	w := newWorld(Options{})
	follow := engine.Options{Follow: true, Life: true}
	a := join(t, w.Arbiter, 10, "a", follow)
	f := w.of(10)
	p := register(t, a, engine.ProbeSpec{Location: "one"})
	f.fork(10, 20)
	next(t, a, event.Fork)
	b := join(t, w.Arbiter, 20, "b", follow)
	q := register(t, b, engine.ProbeSpec{Location: "one"})
	f.hit(10, 10, "one")
	f.hit(20, 20, "one")
	if a.Hits(p) != 2 || b.Hits(q) != 1 {
		t.Errorf("%d and %d hits, want 2 and 1", a.Hits(p), b.Hits(q))
	}
	if _, err := b.Tasks(10); !errors.Is(err, engine.ErrNoProcess) {
		t.Errorf("b sees a's process: %v", err)
	}
	if _, err := w.Join(10, Identity{}, engine.Options{}); !errors.Is(err, ErrFollow) {
		t.Errorf("joined without following: %v", err)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(f.removed, []int{10}) || !slices.Equal(b.Processes(), []int{20}) {
		t.Errorf("removed %v, b has %v", f.removed, b.Processes())
	}
	if err := b.AddProcess(30); err != nil {
		t.Fatal(err)
	}
	f.hit(30, 31, "one")
	if b.Hits(q) != 2 {
		t.Errorf("%d hits, want 2", b.Hits(q))
	}
	c := join(t, w.Arbiter, 40, "c", follow)
	if err := c.AddProcess(30); !errors.Is(err, ErrElsewhere) {
		t.Errorf("added another's: %v", err)
	}
	if err := b.RemoveProcess(30); err != nil || !slices.Equal(f.removed, []int{10, 30}) {
		t.Errorf("%v, removed %v", err, f.removed)
	}
}

// TestRefusals are answers to what can't be had.
func TestRefusals(t *testing.T) {
	denied := errors.New("no")
	w := newWorld(Options{Quota: Quota{Tracers: 2, Probes: 2}})
	a := join(t, w.Arbiter, 10, "a")
	if _, err := a.Register(engine.ProbeSpec{Location: "nowhere"}); !errors.Is(err, symbols.ErrNotFound) {
		t.Error(err)
	}
	p := register(t, a, engine.ProbeSpec{Location: "nowhere", Pending: true})
	register(t, a, engine.ProbeSpec{Location: "one"})
	if _, err := a.Register(engine.ProbeSpec{Location: "two"}); !errors.Is(err, ErrQuota) {
		t.Error(err)
	}
	if err := a.Unregister(p); err != nil {
		t.Error(err)
	}
	register(t, a, engine.ProbeSpec{Location: "two"})
	allowed := true
	b, err := w.Join(10, Identity{UID: 1, Allow: func(int) error {
		if allowed {
			return nil
		}
		return denied
	}}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Join(11, Identity{UID: 1}, engine.Options{}); !errors.Is(err, ErrQuota) {
		t.Error(err)
	}
	allowed = false
	_, err1 := b.Register(engine.ProbeSpec{Location: "x"})
	for i, err := range []error{err1, b.Interrupt(10), b.ReadMemory(10, 0, nil), b.WriteMemory(10, 0, nil), b.Control(10, 0, false), b.AddProcess(12)} {
		if !errors.Is(err, denied) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
	if _, err := b.Register(engine.ProbeSpec{Location: "x"}); err == nil {
		t.Error("registered by one who has gone")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Join(10, Identity{}, engine.Options{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n := len(w.used); n != 0 {
		t.Errorf("quota of %d users is not given back", n)
	}
}

// TestModel has random tracers do random things, one after the other, and
// compares who holds what with a model.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newModel(t, seed).run(300) })
	}
}

type model struct {
	t       *testing.T
	r       *rand.Rand
	w       *world
	tracers []*modelTracer
	log     []string
}

type modelTracer struct {
	*Tracer
	pid    int
	stops  map[string]event.ProbeID // by location: a probe that stops
	holds  map[int]bool
	counts map[event.ProbeID]uint64
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{t: t, r: rand.New(rand.NewPCG(seed, 1)), w: newWorld(Options{HoldLimit: -1})}
}

var modelPIDs, modelPlaces = []int{10, 20}, []string{"one", "two"}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func (m *model) run(steps int) {
	for range steps {
		m.step()
		m.check()
		if m.t.Failed() {
			m.t.Fatalf("after:\n%s", strings.Join(m.log, "\n"))
		}
	}
	for _, tr := range m.tracers {
		_ = tr.Detach()
	}
	m.tracers = nil
	m.check()
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) step() {
	pid, place := pick(m.r, modelPIDs), pick(m.r, modelPlaces)
	tid := pid + m.r.IntN(2)
	if len(m.tracers) == 0 || len(m.tracers) < 5 && m.r.IntN(8) == 0 {
		tr, err := m.w.Join(pid, Identity{Name: "t"}, engine.Options{})
		if err != nil {
			m.t.Fatal(err)
		}
		m.tracers = append(m.tracers, &modelTracer{tr, pid, map[string]event.ProbeID{}, map[int]bool{}, map[event.ProbeID]uint64{}})
		m.note("join %d", pid)
		return
	}
	tr := pick(m.r, m.tracers)
	switch m.r.IntN(9) {
	case 0, 1:
		if tr.stops[place] == 0 {
			m.note("stop at %s of %d", place, tr.pid)
			tr.stops[place] = register(m.t, tr.Tracer, engine.ProbeSpec{Location: place, Action: engine.Stop})
		}
	case 2:
		if id := tr.stops[place]; id != 0 {
			m.note("unregister %s", place)
			_ = tr.Unregister(id)
			delete(tr.stops, place)
		}
	case 3, 4:
		m.hit(pid, tid, place)
	case 5:
		m.note("resume %d of %d", tid, tr.pid)
		_ = tr.Resume(tr.pid + tid&1) // a process's first task stands for all
		if delete(tr.holds, tr.pid+tid&1); tid&1 == 0 {
			clear(tr.holds)
		}
	case 6:
		m.note("interrupt %d", tr.pid)
		if err := tr.Interrupt(tr.pid); err != nil {
			m.t.Error(err)
		}
		tr.holds[tr.pid], tr.holds[tr.pid+1] = true, true
	case 7:
		m.note("resume all of %d", tr.pid)
		_ = tr.Resume(tr.pid)
		clear(tr.holds)
	case 8:
		if m.r.IntN(3) == 0 {
			m.note("gone from %d", tr.pid)
			_ = tr.Detach()
			m.tracers = slices.DeleteFunc(m.tracers, func(x *modelTracer) bool { return x == tr })
		}
	}
}

// hit has a task hit a place, in the program and in the model.
func (m *model) hit(pid, tid int, place string) {
	f := m.w.of(pid)
	if f == nil || !f.hit(pid, tid, place) {
		return
	}
	m.note("hit %s by %d", place, tid)
	for _, tr := range m.tracers {
		if id := tr.stops[place]; id != 0 && tr.pid == pid {
			tr.holds[tid] = true
			tr.counts[id]++
		}
	}
}

// check compares program and model.
func (m *model) check() {
	for _, pid := range modelPIDs {
		f := m.w.of(pid)
		if f == nil {
			continue
		}
		seen, probes := false, 0
		for _, tr := range m.tracers {
			if tr.pid != pid {
				continue
			}
			seen = true
			probes += len(tr.stops)
			for id, n := range tr.counts {
				if got := tr.Hits(id); got != n {
					m.t.Errorf("probe %d of %d: %d hits, want %d", id, pid, got, n)
				}
			}
			if got := len(tr.Info().Holds); got != len(tr.holds) {
				m.t.Errorf("tracer %d holds %d tasks, want %d", tr.nr, got, len(tr.holds))
			}
		}
		if alive := len(f.Processes()) > 0; alive != seen {
			m.t.Errorf("process %d traced: %v, want %v", pid, alive, seen)
		}
		if seen && f.planted() != probes {
			m.t.Errorf("process %d: %d probes, want %d", pid, f.planted(), probes)
		}
		for _, tid := range []int{pid, pid + 1} {
			held := slices.ContainsFunc(m.tracers, func(x *modelTracer) bool { return x.holds[tid] })
			if f.running(tid) == held {
				m.t.Errorf("task %d: running %v, held %v", tid, f.running(tid), held)
			}
		}
	}
}

// TestStress has tracers come, stop, resume and go at once while tasks hit.
func TestStress(t *testing.T) {
	w := newWorld(Options{HoldLimit: time.Millisecond})
	var tracers, tasks sync.WaitGroup
	end := make(chan struct{})
	for tid := 10; tid < 12; tid++ {
		tasks.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					if f := w.of(10); f != nil {
						f.hit(10, tid, "one")
					}
				}
			}
		})
	}
	for i := range 4 {
		tracers.Go(func() { lives(t, w, uint64(i)) })
	}
	tracers.Wait()
	close(end)
	tasks.Wait()
	f := w.of(10)
	if f.planted() > 0 && len(f.Processes()) > 0 || !f.running(10) || !f.running(11) || w.Owns(10) {
		t.Errorf("left: %d probes, running %v %v, traced %v", f.planted(), f.running(10), f.running(11), w.Owns(10))
	}
}

// lives are those of some tracers, one after the other.
func lives(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range 50 {
		tr, err := w.Join(10, Identity{Name: "t"}, engine.Options{Buffer: 64})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := tr.Register(engine.ProbeSpec{Location: "one", Action: pick(r, []engine.Action{engine.Stop, engine.Tell, engine.Count})}); err != nil {
			t.Error(err)
		}
		for range r.IntN(20) {
			switch r.IntN(3) {
			case 0:
				_ = tr.Interrupt(10)
			case 1:
				_ = tr.Resume(10)
			case 2:
				_ = tr.Resume(11)
			}
		}
		if err := tr.Detach(); err != nil {
			t.Error(err)
		}
	}
}
