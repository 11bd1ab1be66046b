package arbiter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// TestModel has random tracers do random things, one after the other, and compares the result with
// a model: which tasks are stopped, which tracer holds what, which has control, what each has
// counted, and what is planted.
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
	control map[int]*modelTracer // by process
	asked   map[int]bool         // it was requested
	log     []string
}

type modelTracer struct {
	*Tracer
	pids   []int
	stops  map[string]event.ProbeID // by location: a probe that stops
	holds  map[int]bool
	counts map[event.ProbeID]uint64
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{t: t, r: rand.New(rand.NewPCG(seed, 1)), w: newWorld(Options{HoldLimit: -1}), control: map[int]*modelTracer{}, asked: map[int]bool{}}
}

var modelPIDs, modelPlaces = []int{10, 20, 30}, []string{"one", "two"}

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

// session is the fake session that has a process.
func (m *model) session(pid int) *fake {
	if f := m.w.of(pid); f != nil && slices.Contains(f.Processes(), pid) {
		return f
	}
	return nil
}

func (m *model) step() {
	if len(m.tracers) == 0 || len(m.tracers) < 5 && m.r.IntN(8) == 0 {
		m.join(pick(m.r, modelPIDs))
		return
	}
	tr := pick(m.r, m.tracers)
	pid, place := pick(m.r, tr.pids), pick(m.r, modelPlaces)
	tid := pid + m.r.IntN(2)
	switch m.r.IntN(14) {
	case 0, 1:
		m.register(tr, place)
	case 2:
		m.unregister(tr, place)
	case 3, 4, 5:
		m.hit(pick(m.r, modelPIDs), m.r.IntN(2), place)
	case 6:
		m.note("%d resumes task %d", tr.nr, tid)
		m.expect(tr.ResumeTask(tid), tr.holds[tid], engine.ErrNotStopped)
		m.letGo(tr, func(x int) bool { return x == tid })
	case 7:
		m.note("%d interrupts %d", tr.nr, pid)
		m.expect(tr.Interrupt(pid), true, nil)
		tr.holds[pid], tr.holds[pid+1] = true, true
	case 8:
		m.note("%d resumes all of %d", tr.nr, pid)
		m.expect(tr.Resume(pid), true, nil)
		m.letGo(tr, func(x int) bool { return x&^1 == pid })
	case 9:
		m.note("%d interrupts task %d", tr.nr, tid)
		m.expect(tr.InterruptTask(tid), true, nil)
		tr.holds[tid] = true
	case 10:
		m.write(tr, pid, tid)
	case 11:
		m.takeControl(tr, pid)
	case 12:
		m.addOrRemove(tr, pick(m.r, modelPIDs))
	case 13:
		if m.r.IntN(3) == 0 {
			m.leave(tr)
		}
	}
}

// expect checks that an error is nil, or the given one.
func (m *model) expect(err error, ok bool, want error) {
	m.t.Helper()
	if ok && err != nil || !ok && !errors.Is(err, want) {
		m.t.Errorf("%v; allowed %v", err, ok)
	}
}

func (m *model) join(pid int) {
	tr, err := m.w.Join(pid, Identity{Name: "t"}, engine.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.tracers = append(m.tracers, &modelTracer{tr, []int{pid}, map[string]event.ProbeID{}, map[int]bool{}, map[event.ProbeID]uint64{}})
	m.note("%d joins %d", tr.nr, pid)
}

func (m *model) leave(tr *modelTracer) {
	m.note("%d leaves", tr.nr)
	_ = tr.Detach()
	clear(tr.holds)
	for _, pid := range tr.pids {
		m.loseControl(tr, pid)
	}
	m.tracers = slices.DeleteFunc(m.tracers, func(x *modelTracer) bool { return x == tr })
}

func (m *model) register(tr *modelTracer, place string) {
	if tr.stops[place] == 0 {
		m.note("%d stops at %s", tr.nr, place)
		tr.stops[place] = register(m.t, tr.Tracer, engine.ProbeSpec{Location: place, Action: engine.ActionStop})
	}
}

func (m *model) unregister(tr *modelTracer, place string) {
	if id := tr.stops[place]; id != 0 {
		m.note("%d unregisters %s", tr.nr, place)
		m.expect(tr.Unregister(id), true, nil)
		delete(tr.stops, place)
	}
}

// hit makes a task hit a place, in the program and in the model.
func (m *model) hit(pid, i int, place string) {
	f := m.session(pid)
	if f == nil || !f.hit(pid, pid+i, place) {
		return
	}
	m.note("task %d hits %s", pid+i, place)
	for _, tr := range m.tracers {
		if id := tr.stops[place]; id != 0 && slices.Contains(tr.pids, pid) {
			tr.holds[pid+i] = true
			tr.counts[id]++
		}
	}
}

// write is a step, or a write of registers or memory.
func (m *model) write(tr *modelTracer, pid, tid int) {
	what := m.r.IntN(3)
	m.note("%d writes %d to %d", tr.nr, what, tid)
	mine := m.control[pid] == nil || m.control[pid] == tr
	var err error
	switch what {
	case 0:
		err = tr.WriteMemory(pid, 0, nil)
		m.expect(err, mine, ErrControl)
	case 1:
		err = tr.SetRegisters(tid, arch.Regs{})
		m.expect(err, mine, ErrControl)
	case 2:
		err = tr.Step(tid)
		other := slices.ContainsFunc(m.tracers, func(x *modelTracer) bool { return x != tr && x.holds[tid] })
		switch {
		case !mine:
			m.expect(err, false, ErrControl)
		case other:
			m.expect(err, false, ErrHeld)
		default:
			m.expect(err, tr.holds[tid], engine.ErrNotStopped)
		}
	}
	if err == nil && (tr.holds[pid] || tr.holds[pid+1]) {
		m.control[pid] = tr
	}
}

func (m *model) takeControl(tr *modelTracer, pid int) {
	now := m.control[pid]
	switch m.r.IntN(3) {
	case 0:
		m.note("%d yields %d", tr.nr, pid)
		m.expect(tr.Yield(pid), true, nil)
		m.loseControl(tr, pid)
		return
	case 1:
		m.note("%d asks for %d", tr.nr, pid)
		m.expect(tr.Control(m.t.Context(), pid, Ask{}), now == nil || now == tr, ErrControl)
		if now != nil && now != tr {
			return
		}
	case 2:
		m.note("%d takes %d", tr.nr, pid)
		m.expect(tr.Control(m.t.Context(), pid, Ask{Force: true}), true, nil)
	}
	m.control[pid], m.asked[pid] = tr, true
}

func (m *model) loseControl(tr *modelTracer, pid int) {
	if m.control[pid] == tr {
		delete(m.control, pid)
		delete(m.asked, pid)
	}
}

// letGo ends holds in the model. Control that was not requested ends with the last hold of a
// process.
func (m *model) letGo(tr *modelTracer, which func(tid int) bool) {
	for tid := range tr.holds {
		if which(tid) {
			delete(tr.holds, tid)
		}
	}
	for _, pid := range tr.pids {
		if !tr.holds[pid] && !tr.holds[pid+1] && !m.asked[pid] {
			m.loseControl(tr, pid)
		}
	}
}

func (m *model) addOrRemove(tr *modelTracer, pid int) {
	if !slices.Contains(tr.pids, pid) {
		m.note("%d adds %d", tr.nr, pid)
		m.expect(tr.AddProcess(pid), true, nil)
		tr.pids = append(tr.pids, pid)
		return
	}
	if len(tr.pids) == 1 {
		return
	}
	m.note("%d removes %d", tr.nr, pid)
	m.expect(tr.RemoveProcess(pid), true, nil)
	m.letGo(tr, func(tid int) bool { return tid&^1 == pid })
	m.loseControl(tr, pid)
	tr.pids = slices.DeleteFunc(tr.pids, func(x int) bool { return x == pid })
}

// check compares program and model.
func (m *model) check() {
	for _, tr := range m.tracers {
		for id, n := range tr.counts {
			if got := tr.Hits(id); got != n {
				m.t.Errorf("probe %d of %d: %d hits, want %d", id, tr.nr, got, n)
			}
		}
		i := tr.Info()
		if len(i.Holds) != len(tr.holds) || len(i.Processes) != len(tr.pids) {
			m.t.Errorf("tracer %d holds %v, want %v; processes %v, want %v", tr.nr, i.Holds, tr.holds, i.Processes, tr.pids)
		}
		for _, pid := range modelPIDs {
			has := slices.ContainsFunc(i.Controls, func(c Control) bool { return c.PID == pid })
			if has != (m.control[pid] == tr) {
				m.t.Errorf("tracer %d controls %v, and %d: %v", tr.nr, i.Controls, pid, m.control[pid] == tr)
			}
		}
	}
	for _, pid := range modelPIDs {
		m.checkProcess(pid)
	}
}

func (m *model) checkProcess(pid int) {
	f := m.session(pid)
	sees := func(x *modelTracer) bool { return slices.Contains(x.pids, pid) }
	if seen := slices.ContainsFunc(m.tracers, sees); (f != nil) != seen || m.w.Owns(pid) != seen {
		m.t.Errorf("process %d traced: %v, %v, want %v", pid, f != nil, m.w.Owns(pid), seen)
	}
	if f == nil {
		return
	}
	probes := 0
	for _, tr := range m.tracers {
		if sees(tr) {
			probes += len(tr.stops)
		}
	}
	if got := f.plantedIn(pid); got != probes {
		m.t.Errorf("process %d: %d probes, want %d", pid, got, probes)
	}
	for _, tid := range []int{pid, pid + 1} {
		held := slices.ContainsFunc(m.tracers, func(x *modelTracer) bool { return x.holds[tid] })
		if f.running(tid) == held {
			m.t.Errorf("task %d: running %v, held %v", tid, f.running(tid), held)
		}
	}
}
