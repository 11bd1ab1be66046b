package arbiter

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// next returns the next event with a body of some type.
func next[B event.Body](t testing.TB, tr *Tracer) (event.Event, B) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		e, err := tr.Poll(ctx)
		if err != nil {
			t.Fatalf("waiting for a %T: %v", *new(B), err)
		}
		if b, ok := e.Body.(B); ok {
			return e, b
		}
	}
}

// told returns the events that a tracer has received until its end, by kind.
func told(tr *Tracer) map[event.Kind]int {
	n := map[event.Kind]int{}
	for e := range tr.Events(context.Background()) {
		n[e.Kind()]++
	}
	return n
}

// TestOwnEvents has two tracers with one probe in common: each receives its own hits, with its own
// ids for its probes.
func TestOwnEvents(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 10, "b", engine.Options{Life: true})
	tell := func(l string) engine.ProbeSpec { return engine.ProbeSpec{Location: l, Action: engine.ActionTell} }
	a1 := register(t, a, tell("one"))
	register(t, b, tell("other"))
	b2 := register(t, b, tell("one"))
	f := w.of(10)
	f.hit(10, 10, "one")
	if _, h := next[*event.Hit](t, a); h.Probe != a1 {
		t.Errorf("a: probe %d, want %d", h.Probe, a1)
	}
	if _, h := next[*event.Hit](t, b); h.Probe != b2 || h.Location != "one" {
		t.Errorf("b: probe %d at %s, want %d", h.Probe, h.Location, b2)
	}
	if err := a.Unregister(a1); err != nil {
		t.Error(err)
	}
	f.hit(10, 10, "one")
	if a.Hits(a1) != 1 || b.Hits(b2) != 2 || len(b.Placements(0)) != 2 || b.Placements(b2)[0].Probe != b2 {
		t.Errorf("%d and %d hits, %v", a.Hits(a1), b.Hits(b2), b.Placements(0))
	}
	f.exit(10, 3)
	if got := told(a); got[event.KindHit] != 0 || got[event.KindExit] != 0 {
		t.Errorf("a, which did not ask, was told %v", got)
	}
	if got := told(b); got[event.KindHit] != 1 || got[event.KindExit] != 1 {
		t.Errorf("b was told %v", got)
	}
	if e, ok := a.Exit(10); !ok || e.Status != 3 {
		t.Errorf("exit %v %v", e, ok)
	}
}

// TestComing asks for the tracers of a process that is being attached to: the answer waits for the
// attach, since the process shows as traced.
func TestComing(t *testing.T) {
	w := newWorld(Options{})
	attach, asked := w.opts.Attach, make(chan []TracerInfo, 1)
	w.opts.Attach = func(pid int, o engine.SharedOptions) (engine.Shared, error) {
		go func() { asked <- w.Tracers(pid, false) }()
		select {
		case list := <-asked:
			t.Errorf("while it is attached to: %v", list)
			asked <- list
		case <-time.After(20 * time.Millisecond):
		}
		return attach(pid, o)
	}
	join(t, w.Arbiter, 10, "a")
	if list := <-asked; len(list) != 1 || list[0].Name != "a" {
		t.Errorf("%v", list)
	}
}

// TestViews: tracers of different processes of one session see only their own.
func TestViews(t *testing.T) {
	w := newWorld(Options{})
	follow := engine.Options{Follow: true, Life: true}
	a := join(t, w.Arbiter, 10, "a", follow)
	f := w.of(10)
	p := register(t, a, engine.ProbeSpec{Location: "one"})
	f.fork(10, 20)
	next[*event.Fork](t, a)
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
	if err := b.RemoveProcess(30); err != nil || !slices.Equal(f.removed, []int{10, 30}) {
		t.Errorf("%v, removed %v", err, f.removed)
	}
}

// TestFollowing has one tracer that follows children, and one that does not, of the same process.
func TestFollowing(t *testing.T) {
	w := newWorld(Options{})
	a := join(t, w.Arbiter, 10, "a", engine.Options{Life: true})
	f := w.of(10)
	p := register(t, a, engine.ProbeSpec{Location: "one", Action: engine.ActionTell})
	f.fork(10, 18) // no tracer follows it
	b := join(t, w.Arbiter, 10, "b", engine.Options{Life: true, Follow: true})
	q := register(t, b, engine.ProbeSpec{Location: "one", Action: engine.ActionStop})
	f.fork(10, 20)
	f.hit(20, 20, "one")
	if _, f := next[*event.Fork](t, b); f.Child != 20 {
		t.Errorf("told %+v", f)
	}
	if e, _ := next[*event.Stopped](t, b); e.PID != 20 || a.Hits(p) != 0 || b.Hits(q) != 1 {
		t.Errorf("told %+v, %d and %d hits", e, a.Hits(p), b.Hits(q))
	}
	if !slices.Equal(a.Processes(), []int{10}) || !slices.Equal(b.Processes(), []int{10, 20}) {
		t.Errorf("processes %v and %v", a.Processes(), b.Processes())
	}
	if err := b.Detach(); err != nil || !slices.Equal(f.removed, []int{20}) || f.follows[10] {
		t.Errorf("%v, removed %v, followed %v", err, f.removed, f.follows)
	}
	f.hit(10, 10, "one")
	if e, _ := next[*event.Hit](t, a); e.PID != 10 {
		t.Errorf("told %+v", e)
	}
	f.exit(10, 0)
	if got := told(a); got[event.KindFork] != 0 || got[event.KindExit] != 1 {
		t.Errorf("who does not follow was told %v", got)
	}
}

// TestSeveral has a tracer with processes in two sessions.
func TestSeveral(t *testing.T) {
	w := newWorld(Options{})
	a, b := join(t, w.Arbiter, 10, "a"), join(t, w.Arbiter, 30, "b")
	c := join(t, w.Arbiter, 10, "c", engine.Options{Life: true})
	p := register(t, c, engine.ProbeSpec{Location: "one", Action: engine.ActionStop})
	for _, pid := range []int{30, 50} {
		if err := c.AddProcess(pid); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AddProcess(50); err == nil {
		t.Error("added twice")
	}
	q := register(t, c, engine.ProbeSpec{Location: "two"})
	for _, pid := range []int{10, 30, 50} {
		w.of(map[int]int{10: 10, 30: 30, 50: 10}[pid]).hit(pid, pid, "one")
		w.of(map[int]int{10: 10, 30: 30, 50: 10}[pid]).hit(pid, pid+1, "two")
	}
	if c.Hits(p) != 3 || c.Hits(q) != 3 || len(c.Placements(0)) != 6 || len(c.Info().Holds) != 3 {
		t.Errorf("%d and %d hits, %v, holds %v", c.Hits(p), c.Hits(q), c.Placements(0), c.Info().Holds)
	}
	if o := c.Others(); len(o) != 2 || o[0].Name != "a" || o[1].Name != "b" || len(a.Others()) != 1 {
		t.Errorf("others %v", o)
	}
	if err := b.Detach(); err != nil || len(w.of(30).removed) != 0 {
		t.Errorf("%v, removed %v", err, w.of(30).removed)
	}
	if err := c.Resume(30); err != nil || !w.of(30).running(30) || w.of(10).running(10) {
		t.Errorf("resumed: %v", err)
	}
	w.of(30).exit(30, 4)
	if e, how := next[*event.Exit](t, c); e.PID != 30 || how.Status != 4 {
		t.Errorf("told %+v of process %d", how, e.PID)
	}
	if err := c.Detach(); err != nil || !slices.Equal(w.of(10).removed, []int{50}) || !w.of(10).running(10) {
		t.Errorf("%v, removed %v", err, w.of(10).removed)
	}
	if c.Hits(p) != 3 {
		t.Errorf("%d hits", c.Hits(p))
	}
}

// TestOverlap has a tracer ask for a child, and then for its parent: the child's hits count once.
func TestOverlap(t *testing.T) {
	w := newWorld(Options{})
	follow := engine.Options{Follow: true, Life: true}
	a := join(t, w.Arbiter, 10, "a", follow)
	f := w.of(10)
	f.fork(10, 20)
	next[*event.Fork](t, a)
	b := join(t, w.Arbiter, 20, "b", follow)
	early := register(t, b, engine.ProbeSpec{Location: "one"})
	if err := b.AddProcess(10); err != nil {
		t.Fatal(err)
	}
	late := register(t, b, engine.ProbeSpec{Location: "one"})
	f.fork(20, 30)
	f.fork(10, 40)
	for _, pid := range []int{10, 20, 30, 40} {
		f.hit(pid, pid, "one")
	}
	if b.Hits(early) != 4 || b.Hits(late) != 4 {
		t.Errorf("%d and %d hits, want 4", b.Hits(early), b.Hits(late))
	}
}

// TestExpelled has a process execute a program that one of its tracers may not trace.
func TestExpelled(t *testing.T) {
	w := newWorld(Options{})
	a := join(t, w.Arbiter, 10, "a")
	var private atomic.Bool
	denied := errors.New("not yours")
	b, err := w.Join(10, Identity{Name: "b", UID: 7, Allow: func(int) error {
		if private.Load() {
			return denied
		}
		return nil
	}}, engine.Options{Life: true})
	if err != nil {
		t.Fatal(err)
	}
	p := register(t, a, engine.ProbeSpec{Location: "one"})
	q := register(t, b, engine.ProbeSpec{Location: "one", Action: engine.ActionStop})
	f := w.of(10)
	f.hit(10, 11, "one")
	private.Store(true)
	f.exec(10)
	if _, w := next[*event.Warning](t, b); !strings.Contains(w.Text, "not yours") {
		t.Errorf("told %q", w.Text)
	}
	<-b.Done()
	f.hit(10, 10, "one")
	if a.Hits(p) != 2 || b.Hits(q) != 1 || !f.running(10) {
		t.Errorf("%d and %d hits, running %v", a.Hits(p), b.Hits(q), f.running(10))
	}
	for e := range b.Events(t.Context()) {
		if e.Kind() == event.KindExec {
			t.Error("who may not trace it was told what it executed")
		}
	}
	if _, err := w.Join(10, Identity{Allow: func(int) error { return denied }}, engine.Options{}); !errors.Is(err, denied) {
		t.Errorf("joined: %v", err)
	}
}

// TestRefusals checks the errors of impossible requests.
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
	for i, err := range []error{err1, b.Interrupt(10), b.ReadMemory(10, 0, nil), b.WriteMemory(10, 0, nil), b.Control(t.Context(), 10, Ask{}), b.AddProcess(12)} {
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
	if _, err := newWorld(Options{Quota: Quota{Memory: 1 << 20}}).Join(10, Identity{}, engine.Options{}); !errors.Is(err, ErrQuota) {
		t.Errorf("events of 1 MiB: %v", err)
	}
	if n := len(w.used); n != 0 {
		t.Errorf("quota of %d users is not given back", n)
	}
}

// TestStress has tracers join, stop, resume and leave concurrently while tasks hit.
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

// lives runs several tracers, one after the other.
func lives(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range 50 {
		tr, err := w.Join(10, Identity{Name: "t"}, engine.Options{Buffer: 64})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := tr.Register(engine.ProbeSpec{Location: "one", Action: pick(r, []engine.Action{engine.ActionStop, engine.ActionTell, engine.ActionCount})}); err != nil {
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
