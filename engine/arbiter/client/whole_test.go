package client

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/internal/fixture"
)

// rounds is how many random runs TestWhole makes: PTRACER_TEST_ROUNDS, or few.
func rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PTRACER_TEST_ROUNDS")); err == nil {
		return n
	}
	return few
}

// TestWhole has random tracers, some of them processes of their own, do random things to a program
// that makes a call when it is told to, and end at random: killed, disconnected, stopped for ever.
// After each step all that is visible is compared with a model: which threads are stopped, which
// tracers hold them, which tracer controls the process, what each tracer has counted and was told,
// what the program has done. A failure prints its seed; PTRACER_TEST_SEED repeats it.
func TestWhole(t *testing.T) {
	first, n := uint64(1), rounds(3)
	if seed, err := strconv.ParseUint(os.Getenv("PTRACER_TEST_SEED"), 10, 64); err == nil {
		first, n = seed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newWhole(t, seed).run(80) })
	}
}

// actor is a tracer, in this process or in one of its own.
type actor interface{ do(request) answer }

// wholeTracer is a tracer and its state in the model.
type wholeTracer struct {
	actor
	name   string
	remote *remote // nil: in this process
	probes map[string]int
	stops  map[string]bool // of these, those that stop
	hits   map[int]uint64  // by probe
	holds  map[int]bool
	told   int // stops
}

// worker is a thread of the program.
type worker struct {
	tid     int
	in      *os.File
	queue   []byte // calls not begun yet
	calling byte   // the present call, 0: none
	stepped bool   // in the present call
}

type whole struct {
	t       *testing.T
	r       *rand.Rand
	socket  string
	p       *running
	workers []*worker
	tracers []*wholeTracer
	control *wholeTracer
	asked   bool
	names   int
	made    map[byte]uint64 // calls that have begun
	fed     map[byte]uint64
	log     []string
}

var wholePlaces = map[byte]string{'a': "one", 'b': "two"}

func newWhole(t *testing.T, seed uint64) *whole {
	w := &whole{t: t, r: rand.New(rand.NewPCG(seed, 3)), made: map[byte]uint64{}, fed: map[byte]uint64{}}
	w.socket = serveAt(t, filepath.Join(t.TempDir(), "s"), false, server.Options{Hang: 2 * time.Second, Options: arbiter.Options{HoldLimit: -1}})
	var ends []*os.File
	for range 2 {
		r, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ends = append(ends, r)
		w.workers = append(w.workers, &worker{in: in})
		t.Cleanup(func() { in.Close() })
	}
	w.p = launchAs(t, nil, ends, fixture.Path(t, "puppet"), "2")
	w.join(false) // the first one stays, and counts
	w.register(w.tracers[0], "one", false)
	w.register(w.tracers[0], "two", false)
	w.p.goOn()
	until(t, "its threads", func() bool {
		tids, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", w.p.pid()))
		for i, x := range tids {
			if i > 0 && len(tids) == 3 {
				w.workers[i-1].tid, _ = strconv.Atoi(x.Name())
			}
		}
		return len(tids) == 3
	})
	return w
}

func (w *whole) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *whole) run(steps int) {
	stopsLeft := 1 // each takes as long as the server waits for an answer
	for range steps {
		w.step(&stopsLeft)
		w.check()
		if w.t.Failed() {
			w.t.Fatalf("after:\n%s", strings.Join(w.log, "\n"))
		}
	}
	for len(w.tracers) > 1 {
		w.leave(w.tracers[1], "detach")
	}
	w.letGo(w.tracers[0], func(int) bool { return true })
	w.tracers[0].do(request{Op: "resume", ID: w.p.pid()})
	for _, x := range w.workers {
		x.in.Close()
	}
	if err := w.p.end(); err != nil || w.p.said(w.t, "one") != w.fed['a'] || w.p.said(w.t, "two") != w.fed['b'] {
		w.t.Errorf("%v, %q, want %v", err, w.p.out.String(), w.fed)
	}
}

func (w *whole) step(stopsLeft *int) {
	tr, x := w.tracers[w.r.IntN(len(w.tracers))], w.workers[w.r.IntN(len(w.workers))]
	place := wholePlaces["ab"[w.r.IntN(2)]]
	switch w.r.IntN(16) {
	case 0:
		if len(w.tracers) < 5 {
			w.join(w.r.IntN(2) == 0)
		}
	case 1, 2, 3:
		w.register(tr, place, w.r.IntN(2) == 0)
	case 4:
		w.unregister(tr, place)
	case 5, 6, 7:
		w.feed(x, "ab"[w.r.IntN(2)])
	case 8:
		w.ok(tr, request{Op: "interrupt", ID: w.p.pid()})
		for _, tid := range w.tids() {
			tr.holds[tid] = true
			tr.told++
		}
	case 9:
		w.ok(tr, request{Op: "interrupt task", ID: x.tid})
		tr.holds[x.tid] = true
		tr.told++
	case 10, 11:
		w.ok(tr, request{Op: "resume", ID: w.p.pid()})
		w.letGo(tr, func(int) bool { return true })
	case 12:
		w.expect(tr.do(request{Op: "resume task", ID: x.tid}), tr.holds[x.tid], "stopped")
		w.note("%s resumes task %d", tr.name, x.tid)
		w.letGo(tr, func(tid int) bool { return tid == x.tid })
	case 13:
		w.write(tr, x)
	case 14:
		w.takeControl(tr)
	case 15:
		w.die(stopsLeft)
	}
}

// ok makes a tracer do something that must succeed.
func (w *whole) ok(tr *wholeTracer, r request) answer {
	w.t.Helper()
	w.note("%s: %s %d %s %v", tr.name, r.Op, r.ID, r.Text, r.Stop)
	a := tr.do(r)
	if a.Err != "" {
		w.t.Errorf("%s: %+v: %s", tr.name, r, a.Err)
	}
	return a
}

// expect checks that an answer is a success, or has the given error.
func (w *whole) expect(a answer, ok bool, is string) {
	w.t.Helper()
	if ok != (a.Err == "") || !ok && !a.is(is) {
		w.t.Errorf("answer %+v, should work: %v, else %s", a, ok, is)
	}
}

func (w *whole) tids() []int { return []int{w.p.pid(), w.workers[0].tid, w.workers[1].tid} }

func (w *whole) join(apart bool) {
	w.names++
	tr := &wholeTracer{name: fmt.Sprintf("t%d", w.names), probes: map[string]int{}, stops: map[string]bool{}, hits: map[int]uint64{}, holds: map[int]bool{}}
	if apart {
		tr.remote = newRemote(w.t, nil)
		tr.actor = tr.remote
	} else {
		a := &agent{}
		tr.actor = a
		w.t.Cleanup(func() { _ = a.s.Close() })
	}
	w.ok(tr, request{Op: "attach", Socket: w.socket, ID: w.p.pid(), Text: tr.name})
	w.tracers = append(w.tracers, tr)
}

func (w *whole) register(tr *wholeTracer, place string, stop bool) {
	if tr.probes[place] == 0 {
		tr.probes[place] = int(w.ok(tr, request{Op: "register", Text: place, Stop: stop}).N)
		tr.stops[place] = stop
	}
}

func (w *whole) unregister(tr *wholeTracer, place string) {
	if id := tr.probes[place]; id != 0 && tr != w.tracers[0] {
		w.ok(tr, request{Op: "unregister", ID: id})
		delete(tr.probes, place)
	}
}

// feed tells a thread to make a call.
func (w *whole) feed(x *worker, what byte) {
	w.note("task %d is to call %s", x.tid, wholePlaces[what])
	if _, err := x.in.Write([]byte{what}); err != nil {
		w.t.Fatal(err)
	}
	w.fed[what]++
	x.queue = append(x.queue, what)
	w.work(x)
}

func (w *whole) held(tid int) bool {
	return slices.ContainsFunc(w.tracers, func(tr *wholeTracer) bool { return tr.holds[tid] })
}

// work makes a thread, in the model, run until it is held.
func (w *whole) work(x *worker) {
	for len(x.queue) > 0 && x.calling == 0 && !w.held(x.tid) {
		what := x.queue[0]
		x.queue = x.queue[1:]
		w.made[what]++
		for _, tr := range w.tracers {
			id := tr.probes[wholePlaces[what]]
			if id == 0 {
				continue
			}
			tr.hits[id]++
			if tr.stops[wholePlaces[what]] {
				tr.holds[x.tid] = true
				tr.told++
			}
		}
		if w.held(x.tid) {
			x.calling, x.stepped = what, false
		}
	}
}

// letGo ends holds in the model, and resumes what they held.
func (w *whole) letGo(tr *wholeTracer, which func(tid int) bool) {
	for tid := range tr.holds {
		if which(tid) {
			delete(tr.holds, tid)
		}
	}
	if w.control == tr && !w.asked && len(tr.holds) == 0 {
		w.control = nil
	}
	for _, x := range w.workers {
		if !w.held(x.tid) {
			x.calling = 0
			w.work(x)
		}
	}
}

// write is a step, or a write of registers.
func (w *whole) write(tr *wholeTracer, x *worker) {
	mine := w.control == nil || w.control == tr
	var a answer
	if w.r.IntN(2) == 0 {
		a = tr.do(request{Op: "write", ID: x.tid})
		switch {
		case !w.held(x.tid):
			w.expect(a, false, "stopped")
		default:
			w.expect(a, mine, "control")
		}
	} else {
		if x.calling == 0 || x.stepped { // it might leave the call
			return
		}
		a = tr.do(request{Op: "step", ID: x.tid})
		others := slices.ContainsFunc(w.tracers, func(o *wholeTracer) bool { return o != tr && o.holds[x.tid] })
		switch {
		case !mine:
			w.expect(a, false, "control")
		case others:
			w.expect(a, false, "held")
		default:
			w.expect(a, tr.holds[x.tid], "stopped")
		}
		if a.Err == "" {
			tr.told++
			x.stepped = true
		}
	}
	w.note("%s writes to %d: %q", tr.name, x.tid, a.Err)
	if a.Err == "" && w.control == nil && len(tr.holds) > 0 {
		w.control = tr
	}
}

func (w *whole) takeControl(tr *wholeTracer) {
	pid := w.p.pid()
	switch w.r.IntN(3) {
	case 0:
		w.ok(tr, request{Op: "yield", ID: pid})
		if w.control == tr {
			w.control, w.asked = nil, false
		}
		return
	case 1:
		a := tr.do(request{Op: "control", ID: pid})
		w.note("%s asks for control: %q", tr.name, a.Err)
		w.expect(a, w.control == nil || w.control == tr, "control")
		if a.Err != "" {
			return
		}
	case 2:
		w.ok(tr, request{Op: "control", ID: pid, Force: true})
	}
	w.control, w.asked = tr, true
}

// die ends a tracer in one of the possible ways.
func (w *whole) die(stopsLeft *int) {
	if len(w.tracers) < 2 {
		return
	}
	tr := w.tracers[1+w.r.IntN(len(w.tracers)-1)]
	how := []string{"detach", "close"}[w.r.IntN(2)]
	if tr.remote != nil && w.r.IntN(2) == 0 {
		how = "kill"
		if *stopsLeft > 0 && w.r.IntN(2) == 0 {
			*stopsLeft--
			how = "stop"
		}
	}
	w.leave(tr, how)
}

func (w *whole) leave(tr *wholeTracer, how string) {
	switch how {
	case "kill":
		w.note("%s is killed", tr.name)
		tr.remote.signal(syscall.SIGKILL)
	case "stop":
		w.note("%s is stopped for ever", tr.name)
		tr.remote.signal(syscall.SIGSTOP)
	default:
		w.ok(tr, request{Op: how})
	}
	until(w.t, "end of "+tr.name, func() bool {
		return !slices.ContainsFunc(others(w.t, w.socket), func(i arbiter.TracerInfo) bool { return i.Name == tr.name })
	})
	w.tracers = slices.DeleteFunc(w.tracers, func(x *wholeTracer) bool { return x == tr })
	if w.control == tr {
		w.control, w.asked = nil, false
	}
	w.letGo(tr, func(int) bool { return true })
}

// check waits until the program has done what the model has, and compares everything visible.
func (w *whole) check() {
	for _, x := range w.workers {
		want := "S"
		if w.held(x.tid) {
			want = "t"
		}
		w.sees(func() string {
			state := status(x.tid, "State")
			if !strings.HasPrefix(state, want) {
				return fmt.Sprintf("task %d: %s, want %s", x.tid, state, want)
			}
			return ""
		})
	}
	for _, tr := range w.tracers {
		for id, n := range tr.hits {
			w.sees(func() string {
				if got := tr.do(request{Op: "hits", ID: id}).N; got != n {
					return fmt.Sprintf("%s: probe %d: %d hits, want %d", tr.name, id, got, n)
				}
				return ""
			})
		}
		told := 0
		w.sees(func() string {
			for kind, n := range tr.do(request{Op: "told"}).Told {
				if kind == "stopped" {
					told += n
				} else if kind != "warning" && kind != "asked" {
					w.t.Errorf("%s was told %d of %s", tr.name, n, kind)
				}
			}
			if told != tr.told {
				return fmt.Sprintf("%s was told %d stops, want %d", tr.name, told, tr.told)
			}
			return ""
		})
		tr.told = 0
	}
	w.sees(w.lists)
}

// lists compares the server's list of tracers.
func (w *whole) lists() string {
	list := others(w.t, w.socket)
	if len(list) != len(w.tracers) {
		return fmt.Sprintf("%d tracers, want %d", len(list), len(w.tracers))
	}
	for _, i := range list {
		k := slices.IndexFunc(w.tracers, func(tr *wholeTracer) bool { return tr.name == i.Name })
		if k < 0 {
			return "unknown tracer " + i.Name
		}
		tr := w.tracers[k]
		var holds []int
		for _, h := range i.Holds {
			holds = append(holds, h.TID)
		}
		want := []int{}
		for tid := range tr.holds {
			want = append(want, tid)
		}
		slices.Sort(want)
		if !slices.Equal(holds, want) || len(i.Probes) != len(tr.probes) || (len(i.Controls) == 1) != (w.control == tr) {
			return fmt.Sprintf("%+v; want holds %v, %d probes, control %v", i, want, len(tr.probes), w.control == tr)
		}
	}
	return ""
}

// sees waits until nothing differs.
func (w *whole) sees(complaint func() string) {
	w.t.Helper()
	text := ""
	for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if text = complaint(); text == "" {
			return
		}
		if time.Now().After(end) {
			w.t.Error(text)
			return
		}
	}
}

// others are the other tracers of the server.
func others(t testing.TB, socket string) []arbiter.TracerInfo {
	t.Helper()
	list, err := Dialer{Socket: socket}.Tracers(0)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
