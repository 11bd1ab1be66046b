package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// canJump reports whether there are jumps on this CPU.
func canJump() bool {
	ctx, err := program.ContextOf(hostISA().Name())
	return err == nil && handler.NativeAvailable(ctx) == nil
}

// needsJumps skips a test where there are none.
func needsJumps(t *testing.T) {
	t.Helper()
	if !canJump() {
		skip.Missing(t, "a CPU with LSE: the lane's -cpu cortex-a76")
	}
}

// needsJumping skips, too, where sites stay traps: PTRACER_TEST_TRAPS.
func needsJumping(t *testing.T) {
	t.Helper()
	needsJumps(t)
	if !jump.Enabled {
		skip.Missing(t, "jumps")
	}
}

// jumpPrograms are programs of each kind, with a function each that is called as
// often as they say; the forker's children call it, too.
var jumpPrograms = []struct{ fixture, args, where string }{
	{"threads", "8 200000", "work"}, {"threads-static", "8 200000", "work"},
	{"loop", "3000", "work"}, {"loop-musl", "3000", "work"}, {"loop-nopie", "3000", "work"}, {"loop-static-pie", "3000", "work"},
	{"gowork", "3 20000", "main.work"}, {"gowork-pie", "3 20000", "main.work"}, {"gowork-stripped", "3 20000", "main.work"},
	{"gomap", "3000", "main.put"}, {"forker", "fork 3 50", "work"},
}

// eachJumpProgram has a probe put into each of them, goes on, and compares: what
// it says with what it says unprobed, the hits with the calls.
func eachJumpProgram(t *testing.T, put func(t *testing.T, p *running, where string) (hits func() uint64)) {
	needsJumps(t)
	for _, c := range jumpPrograms {
		t.Run(c.fixture, func(t *testing.T) {
			want, wantStatus := alone(t, c.fixture, strings.Fields(c.args)...)
			p := launch(t, c.fixture, strings.Fields(c.args)...)
			hits := put(t, p, c.where)
			p.goOn()
			out, status := p.end()
			if unpid(out) != unpid(want) || status != wantStatus {
				t.Errorf("%q, status %d, want %q, %d", out, status, want, wantStatus)
			}
			calls := said(t, out, "calls")
			if c.fixture == "forker" {
				calls = 300
			}
			if got := hits(); got != calls {
				t.Errorf("%d hits, %d calls", got, calls)
			}
		})
	}
}

// TestJumps counts by jumps in programs of each kind, with threads of theirs in
// the way of the jumps: all calls, no stop for any of them, nothing left.
func TestJumps(t *testing.T) {
	eachJumpProgram(t, func(t *testing.T, p *running, where string) func() uint64 {
		s := attach(t, p.pid, Options{Follow: true})
		id := register(t, s, ProbeSpec{Location: where, Rung: breakpoint.Jump})
		for _, pl := range s.Placements(id) {
			if pl.Rung != breakpoint.Jump || pl.Reason != "" {
				t.Errorf("%s: %v, %q", pl.Name, pl.Rung, pl.Reason)
			}
		}
		before := s.Stats().Hits
		return func() uint64 {
			hits := s.Hits(id)
			if stops := s.Stats().Hits - before; stops > hits/10 {
				t.Errorf("%d of %d hits stopped", stops, hits) // a few are the engine's own
			}
			return hits
		}
	})
}

// TestJumpsOtherUser shares memory with a process of another user, which may not look into the
// tracer's /proc entry.
func TestJumpsOtherUser(t *testing.T) {
	needsJumps(t)
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to trace another user's process")
	}
	p := launchAs(t, 65534, "threads", "2", "20000")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Jump})
	p.goOn()
	out, _ := p.end()
	if got, want := s.Hits(id), said(t, out, "calls"); got != want || want != 40000 {
		t.Errorf("%d hits, %d calls", got, want)
	}
}

// TestJumpsComeAndGo plants and removes jumps while threads run through them.
func TestJumpsComeAndGo(t *testing.T) {
	needsJumps(t)
	p := launch(t, "threads", "4", "100000000000")
	text := textOf(t, p.pid)
	s := attach(t, p.pid)
	p.goOn()
	for range pace(50, 5) {
		id := register(t, s, ProbeSpec{Location: "work"})
		if !jump.Enabled {
			break
		}
		until(t, "hits", func() bool { return s.Hits(id) > 1000 })
		if err := s.Unregister(id); err != nil {
			t.Fatal(err)
		}
		n := s.Hits(id)
		time.Sleep(time.Millisecond) // nothing is to happen
		if again := s.Hits(id); again != n {
			t.Fatalf("%d hits after its end", again-n)
		}
	}
	detach(t, s)
	isClean(t, p.pid, text, "0000000100000000") // glibc's own, for threads
	if m := mapsOf(t, p.pid); strings.Contains(m, "ptracer") {
		t.Errorf("memory of ours is left:\n%s", m)
	}
}

// TestJumpsWhileHeld plants jumps while the tracer holds all tasks, of which many
// stand in the slots of traps that were there or still are, and detaches before
// they go on.
func TestJumpsWhileHeld(t *testing.T) {
	for i := range pace(60, 6) {
		p := launch(t, "threads", "3", fmt.Sprint(pace(4000, 300)))
		s := attach(t, p.pid)
		trap := register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Slot})
		p.goOn()
		until(t, "hits", func() bool { return s.Hits(trap) > 10 })
		err := errors.Join(s.Interrupt(p.pid), s.Unregister(trap))
		if err == nil {
			_, err = s.Register(ProbeSpec{Location: "work"})
		}
		if err == nil && i%2 == 0 {
			err = s.Resume(p.pid)
		}
		if err != nil && !gone(err) {
			t.Fatal(err)
		}
		if i%4 != 0 {
			detach(t, s)
		}
		if out, status := p.end(); status != 0 || said(t, out, "calls") != uint64(3*pace(4000, 300)) {
			t.Fatalf("round %d: %q, status %d", i, out, status)
		}
	}
}

// TestJumpReasons is what stands against jumps.
func TestJumpReasons(t *testing.T) {
	needsJumps(t)
	p := launch(t, "calls", "1", "10")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "main+*"})
	found := 0
	for _, pl := range s.Placements(id) {
		if pl.Rung != breakpoint.Jump && strings.HasPrefix(pl.Reason, "no jump: ") {
			found++
		}
		if pl.Rung > breakpoint.Pun && pl.Reason == "" && jump.Enabled {
			t.Errorf("%s: %v, and nobody says why", pl.Name, pl.Rung)
		}
	}
	if found == 0 && jump.Enabled && s.ISA().MinInst() == 1 {
		t.Error("no reasons")
	}
	if _, err := s.Register(ProbeSpec{Location: "step", Action: ActionTell, Rung: breakpoint.Jump}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a jump that stops: %v", err)
	}
	p.goOn()
	p.end()
}

// TestJumpReturns counts returns, where there is room behind them by jumps.
func TestJumpReturns(t *testing.T) {
	p := launch(t, "calls", "2", "300")
	s := attach(t, p.pid)
	ids := map[string]uint64{"step%return": 600, "leaf%return": 800}
	for where := range ids {
		id := register(t, s, ProbeSpec{Location: where})
		defer func() {
			if n := s.Hits(id); n != ids[where] {
				t.Errorf("%s: %d hits, want %d", where, n, ids[where])
			}
		}()
		for _, pl := range s.Placements(id) {
			t.Logf("%s: %v %s", pl.Name, pl.Rung, pl.Reason)
		}
	}
	p.goOn()
	p.end()
}

// TestJumpBesideTrap has probes that stop come to where there is a jump, and
// next to it, and go again: each call counts once for each.
func TestJumpBesideTrap(t *testing.T) {
	for _, spec := range []ProbeSpec{
		{Location: "step", Action: ActionTell}, {Location: "step+*"}, {Location: "step+*", Rung: breakpoint.Slot}, {Location: "step", Rung: breakpoint.Slot}, {Location: "step"},
	} {
		p := launch(t, "calls", "2", "300")
		s := attach(t, p.pid)
		first := register(t, s, ProbeSpec{Location: "step"})
		second := register(t, s, spec)
		third := register(t, s, ProbeSpec{Location: "step"})
		if err := s.Unregister(second); err != nil {
			t.Fatal(err)
		}
		if pl := s.Placements(first)[0]; !isJump(pl.Rung) && canJump() && jump.Enabled {
			t.Errorf("%+v has gone, and the first is still %v: %s", spec, pl.Rung, pl.Reason)
		}
		second = register(t, s, spec)
		p.goOn()
		p.end()
		at := uint64(0)
		for _, pl := range s.Placements(second) {
			if !strings.Contains(pl.Name, "+") || strings.HasSuffix(pl.Name, "+0") {
				at = pl.Hits
			}
		}
		if s.Hits(first) != 600 || s.Hits(third) != 600 || at != 600 {
			t.Errorf("%+v: %d, %d and %d hits", spec, s.Hits(first), at, s.Hits(third))
		}
		detach(t, s)
	}
}

// TestJumpFaults has an instruction that a jump displaces fault: the program is
// shown its own place, and goes on.
func TestJumpFaults(t *testing.T) {
	needsJumps(t)
	for _, rung := range []breakpoint.Rung{breakpoint.Jump, breakpoint.Slot} {
		want, _ := alone(t, "faulty", "50")
		p := launch(t, "faulty", "50")
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "touch", Rung: rung})
		p.goOn()
		out, status := p.end()
		if unpid(out) != unpid(want) || status != 0 || said(t, out, "wrong") != 0 {
			t.Errorf("%v: %q, want %q", rung, out, want)
		}
		hits := uint64(50)
		if rung == breakpoint.Jump {
			hits += said(t, out, "faults") // what faults comes to the jump again
		}
		if got := s.Hits(id); got != hits {
			t.Errorf("%v: %d hits, want %d", rung, got, hits)
		}
	}
}

// TestJumpFaultsInside has an instruction fault in the middle of a jump, and the
// program's handler come back to it: the jump is gone by then.
func TestJumpFaultsInside(t *testing.T) {
	needsJumps(t)
	want, _ := alone(t, "faulty", "50", "1")
	for _, rung := range []breakpoint.Rung{breakpoint.Jump, breakpoint.Slot} {
		p := launch(t, "faulty", "50", "1")
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "second", Rung: rung})
		if pl := s.Placements(id); rung == breakpoint.Jump && pl[0].Rung != breakpoint.Jump {
			t.Errorf("%v: %s", pl[0].Rung, pl[0].Reason)
		}
		p.goOn()
		out, status := p.end()
		if unpid(out) != unpid(want) || status != 0 || said(t, out, "wrong") != 0 {
			t.Errorf("%v: %q, status %d, want %q", rung, out, status, want)
		}
		if got := s.Hits(id); got != 50 {
			t.Errorf("%v: %d hits, want 50", rung, got)
		}
		if pl := s.Placements(id); s.ISA().MinInst() == 1 && pl[0].Rung != breakpoint.Slot {
			t.Errorf("%v: %s", pl[0].Rung, pl[0].Reason)
		}
	}
}

// TestTraceeHandlers runs handlers behind jumps, and the same where the site is
// a trap: they find what they find in the engine.
func TestTraceeHandlers(t *testing.T) {
	needsJumps(t)
	want, _ := alone(t, "calls", "2", "300")
	specs := map[string]HandlerSpec{}
	for loc, spec := range builtinSpecs {
		if loc != "step ret" && loc != "step values" { // an exit; a hash
			specs[loc] = spec
		}
	}
	specs["leaf hist"] = HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}, Scale: builtin.Scale{Lo: 0, Step: 10, Count: 20}}}
	_, reference := results(t, handler.Engine, specs)
	probe := launch(t, "calls")
	s := attach(t, probe.pid)
	if _, err := s.OpenHandler(HandlerSpec{Name: "count", Where: handler.Tracee}); errors.Is(err, errors.ErrUnsupported) && s.ISA().Name() == "arm64" {
		skip.Missing(t, "handlers with values for each CPU, in arm64 programs")
	} else if err != nil {
		t.Fatal(err)
	}
	for loc := range specs {
		if h, err := s.OpenHandler(HandlerSpec{Name: specs[loc].Name, Params: specs[loc].Params, Where: handler.Tracee}); err != nil {
			t.Logf("%s: %v", loc, err)
			delete(specs, loc)
			delete(reference, loc)
		} else if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(specs) < 4 {
		t.Errorf("only %d handlers run in the program", len(specs))
	}
	out, found := results(t, handler.Tracee, specs)
	if out != want {
		t.Errorf("it says %q, unprobed %q", out, want)
	}
	if !cmp.Equal(reference, found) {
		t.Errorf("engine and tracee differ: %s", cmp.Diff(reference, found))
	}
}

// TestTraceeHandlerCloses closes a handler while threads run through it: they
// are counted on, the handler's result stays what it was.
func TestTraceeHandlerCloses(t *testing.T) {
	needsJumps(t)
	p := launch(t, "threads", "2", fmt.Sprint(pace(1000000000, 100000000)))
	s := attach(t, p.pid)
	h, err := s.OpenHandler(HandlerSpec{Name: "count", Where: handler.Tracee})
	if errors.Is(err, errors.ErrUnsupported) && s.ISA().Name() == "arm64" {
		skip.Missing(t, "handlers with values for each CPU, in arm64 programs")
	} else if err != nil {
		t.Fatal(err)
	}
	id := register(t, s, ProbeSpec{Location: "work", Handler: h})
	p.goOn()
	until(t, "hits", func() bool { return s.Hits(id) > 1000 })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	last := resultOf(t, h)
	if n := last.(map[string]any)["hits"].(float64); n < 1000 {
		t.Errorf("%v hits when it was closed", n)
	}
	n := s.Hits(id)
	until(t, "more hits", func() bool { return s.Hits(id) > n+1000 })
	if again := resultOf(t, h); !cmp.Equal(last, again) {
		t.Errorf("the result changes after Close: %v, %v", last, again)
	}
	for _, pl := range s.Placements(id) {
		if !isJump(pl.Rung) && jump.Enabled {
			t.Errorf("%v: %s", pl.Rung, pl.Reason)
		}
	}
}

// TestJumpsAgainstTraps counts all entries and all exits of a library in a real
// program by jumps, where these can be, and by traps: place by place the same.
func TestJumpsAgainstTraps(t *testing.T) {
	needsJumps(t)
	path, err := exec.LookPath("sqlite3")
	if err != nil {
		skip.Missing(t, "sqlite3")
	}
	count := func(locations string, rung breakpoint.Rung) (hits map[string]uint64, jumps int) {
		s, err := Start(context.Background(), Command{Path: path, Args: []string{":memory:",
			"create table t(a, b text); insert into t values (1,'x'),(2,'yy'),(3,'zzz'); create index i on t(b); " +
				"select sum(a), group_concat(b, '-'), count(*) from t where b like '%y%' or a > 1 group by length(b) order by 1 desc;"}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Kill()
		for _, loc := range strings.Fields(locations) {
			register(t, s, ProbeSpec{Location: loc, Rung: rung, Pending: true})
		}
		if err := s.Resume(s.Processes()[0]); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		hits = map[string]uint64{}
		for _, pl := range s.Placements(0) {
			if isJump(pl.Rung) {
				jumps++
			}
			if pl.Hits > 0 {
				hits[pl.Name] += pl.Hits
			}
		}
		return hits, jumps
	}
	for _, location := range []string{"libsqlite3*:*", "libsqlite3*:*%return", "libsqlite3*:* libsqlite3*:*%return"} {
		want, _ := count(location, breakpoint.Slot)
		got, jumps := count(location, breakpoint.Auto)
		if d := cmp.Diff(want, got); d != "" || len(want) < 100 || jump.Enabled && jumps < len(want)/10 {
			t.Errorf("%s: %d places hit, %d jumps, traps and jumps differ: %s", location, len(want), jumps, d)
		}
		t.Logf("%s: %d places hit, %d jumps", location, len(want), jumps)
	}
}

// TestGoAll counts entries and exits of all functions of Go programs and takes the time of all
// calls. The programs' stacks grow; they panic and recover, fault, are preempted, and call C, which
// calls them. They print what they print alone, and functions that do not panic end as often as
// they begin.
func TestGoAll(t *testing.T) {
	needsJumps(t)
	for _, c := range []struct {
		fixture string
		rounds  int
		even    []string // functions that end as often as they begin; the first is main's
	}{
		{"gopanic", pace(6, 1), []string{"main.spin", "runtime.memhash64", "main.deep", "main.catcher", "main.touched"}},
		{"gocgo", pace(50, 10), []string{"main.mark", "plain", "main.call"}},
	} {
		t.Run(c.fixture, func(t *testing.T) { goAll(t, c.fixture, strconv.Itoa(c.rounds), c.even) })
	}
}

func goAll(t *testing.T, name, rounds string, even []string) {
	path := fixture.Path(t, name)
	want, err := exec.Command(path, rounds).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := name + ":*"
	if !jump.Enabled { // it would take a minute
		all, even = name+":main.*", even[:1]
	}
	for range pace(2, 1) {
		hits := timeAll(t, path, rounds, all, name+":"+even[0], string(want))
		for _, f := range even {
			if in, out := hits[name+":"+f], hits[name+":"+f+"%return"]; in == 0 || in != out {
				t.Errorf("%s begins %d times and ends %d times", f, in, out)
			}
		}
	}
}

func haveStacks() bool {
	ctx, err := program.ContextOf(runtime.GOARCH)
	return err == nil && handler.Stacked(ctx)
}

// startInto starts a program, and says in which file is what it prints.
func startInto(t *testing.T, path string, args ...string) (Session, string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s, err := Start(context.Background(), Command{Path: path, Args: args, Stdout: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	return s, file.Name()
}

// timeAll runs a program with all its functions counted and timed, and gives back how
// often each began and ended.
func timeAll(t *testing.T, path, rounds, all, often, want string) map[string]uint64 {
	t.Helper()
	s, out := startInto(t, path, rounds)
	module, _, _ := strings.Cut(all, ":")
	begun := register(t, s, ProbeSpec{Location: all, Pending: true})
	ended := register(t, s, ProbeSpec{Location: all + "%return", Pending: true})
	h := openHandler(t, s, HandlerSpec{Name: "latency"})
	timed := h.Info().Where == handler.Tracee // else it would take minutes
	if jump.Enabled && !timed && haveStacks() {
		t.Errorf("calls are timed in the %v: %s", h.Info().Where, h.Info().Why)
	}
	if timed {
		for _, location := range pace([]string{all}, []string{module + ":main.*", module + ":runtime.m*"}) {
			register(t, s, ProbeSpec{Location: location, Pending: true, Handler: h})
		}
	}
	if err := s.Resume(s.Processes()[0]); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if got, err := os.ReadFile(out); err != nil || string(got) != want {
		t.Fatalf("%q, not %q, %v", got, want, err)
	}
	hits := map[string]uint64{}
	for _, id := range []event.ProbeID{begun, ended} {
		for _, pl := range s.Placements(id) {
			hits[pl.Name] += pl.Hits
		}
	}
	if l := resultOf(t, h); timed && l.(map[string]any)["count"].(float64) < float64(hits[often]/2) {
		t.Errorf("calls that took time: %v", l)
	}
	return hits
}

// TestGoGrows counts a function that goroutines' stacks grow for: as many hits as
// calls, though it begins twice then, as its first instruction tells.
func TestGoGrows(t *testing.T) {
	for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Step} {
		p := launch(t, "gowork", "50", "1") // each goroutine goes 41 calls deep
		s := attach(t, p.pid)
		body := register(t, s, ProbeSpec{Location: "main.deep", Rung: rung})
		first := register(t, s, ProbeSpec{Location: "main.deep+0", Rung: rung})
		if pl := s.Placements(body); rung == breakpoint.Auto && jump.Enabled && !isJump(pl[0].Rung) {
			t.Errorf("%v: %s", pl[0].Rung, pl[0].Reason)
		}
		p.goOn()
		p.end()
		if n := s.Hits(body); n != 50*41 {
			t.Errorf("%v: %d hits, want %d", rung, n, 50*41)
		}
		if n := s.Hits(first); n <= 50*41 {
			t.Errorf("%v: no stack has grown: the first instruction has %d hits", rung, n)
		}
	}
}

// TestGoFaults has the first instruction of a Go function that does anything fault,
// behind a jump, with a tracer and without: it panics, and the panic is caught.
func TestGoFaults(t *testing.T) {
	needsJumps(t)
	rounds := strconv.Itoa(pace(10, 2))
	want, _ := alone(t, "gopanic", rounds)
	for _, resident := range []bool{false, true} {
		p := launch(t, "gopanic", rounds)
		s := attach(t, p.pid, Options{Resident: resident})
		id := register(t, s, ProbeSpec{Location: "main.touch"})
		if pl := s.Placements(id); jump.Enabled && !isJump(pl[0].Rung) {
			t.Errorf("%v: %s", pl[0].Rung, pl[0].Reason)
		}
		if resident {
			detach(t, s)
		}
		p.goOn()
		if out, status := p.end(); unpid(out) != unpid(want) || status != 0 {
			t.Errorf("resident %v: %q, status %d, want %q", resident, out, status, want)
		}
		if n := 2 * 8 * uint64(pace(10, 2)); !resident && s.Hits(id) != n {
			t.Errorf("%d hits, want %d", s.Hits(id), n)
		}
	}
}

// TestGoPreempt counts, and times, how often Go's runtime interrupts loops that add
// with carry: asyncPreempt finds flags that mean something, as no function that is
// called does.
func TestGoPreempt(t *testing.T) {
	needsJumps(t)
	for _, handler := range []string{"", "latency"} {
		t.Run("count"+handler, func(t *testing.T) { goPreempt(t, handler) })
	}
}

func goPreempt(t *testing.T, name string) {
	path, rounds := fixture.Path(t, "gopreempt"), strconv.Itoa(pace(200, 60))
	want, err := exec.Command(path, rounds).Output()
	if err != nil {
		t.Fatal(err)
	}
	s, out := startInto(t, path, rounds)
	spec := ProbeSpec{Location: "runtime.asyncPreempt.abi0"}
	if name != "" {
		spec.Handler = openHandler(t, s, HandlerSpec{Name: name})
	}
	id := register(t, s, spec)
	if err := s.Resume(s.Processes()[0]); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if got, err := os.ReadFile(out); err != nil || string(got) != string(want) {
		t.Errorf("%q, not %q, %v", got, want, err)
	}
	for _, pl := range s.Placements(id) {
		// On amd64 it saves the flags in its third instruction, which no jump displaces.
		if pl.Hits > 0 && jump.Enabled && hostISA().MinInst() == 4 && !isJump(pl.Rung) {
			t.Errorf("%+v", pl)
		}
	}
	if t.Logf("preempted %d times", s.Hits(id)); s.Hits(id) == 0 {
		t.Error("it was never preempted")
	}
}

// TestUpgradeOfGone makes jumps of sites of a process that has ended while memory for the jumps was
// asked for, which lets tasks run.
func TestUpgradeOfGone(t *testing.T) {
	needsJumping(t)
	jump.Enabled = false
	defer func() { jump.Enabled = true }()
	p := launch(t, "threads", "3", "1000", "0")
	s := attach(t, p.pid).(*session)
	register(t, s, ProbeSpec{Location: "work"})
	jump.Enabled = true
	err := s.loop.Do(func() error {
		proc := s.loop.Procs[p.pid]
		var sites []*breakpoint.Site
		for _, pr := range s.plant.Probes {
			for _, pl := range pr.Places {
				sites, pl.Site = append(sites, pl.Site), nil
			}
		}
		return s.jump.Upgrade(proc, sites)
	})
	if !ptrace.IsGone(err) {
		t.Errorf("%v, not that it is gone", err)
	}
}

// isJump reports whether a place is served without a stop.
func isJump(r breakpoint.Rung) bool { return r == breakpoint.Jump || r == breakpoint.Pun }
