package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/hit"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/internal/skip"
)

// executors are those that a test runs in.
func executors(t *testing.T, test func(t *testing.T, where handler.Where)) {
	inExecutors(t, test, handler.Engine, handler.Kernel)
}

// everywhere is executors with the program itself.
func everywhere(t *testing.T, test func(t *testing.T, where handler.Where)) {
	inExecutors(t, test, handler.Engine, handler.Tracee, handler.Kernel)
}

func inExecutors(t *testing.T, test func(t *testing.T, where handler.Where), list ...handler.Where) {
	for _, where := range list {
		t.Run(where.String(), func(t *testing.T) {
			if where == handler.Kernel && kernel.Available() != nil {
				skip.Missing(t, "eBPF in the kernel")
			}
			if where == handler.Tracee {
				needsJumps(t)
			}
			test(t, where)
		})
	}
}

func openHandler(t testing.TB, s Session, spec HandlerSpec) Handler {
	t.Helper()
	h, err := s.OpenHandler(spec)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// results runs the fixture "calls" with handlers at its functions, and gives
// what it printed and what they found, as JSON.
func results(t *testing.T, where handler.Where, at map[string]HandlerSpec) (out string, found map[string]any) {
	t.Helper()
	p := launch(t, "calls", "2", "300")
	s := attach(t, p.pid)
	handlers := map[string]Handler{}
	for loc, spec := range at {
		spec.Where = where
		h := openHandler(t, s, spec)
		name, _, _ := strings.Cut(loc, " ")
		register(t, s, ProbeSpec{Location: name, Handler: h, Cookie: 77})
		handlers[loc] = h
	}
	p.goOn()
	out, _ = p.end()
	found = map[string]any{}
	for loc, h := range handlers {
		found[loc] = resultOf(t, h)
		if i := h.Info(); i.Where != where || i.Failures != 0 {
			t.Errorf("%s: %+v", loc, i)
		}
		if err := h.Close(); err != nil {
			t.Errorf("%s: %v", loc, err)
		}
		if again := resultOf(t, h); !cmp.Equal(again, found[loc]) {
			t.Errorf("%s: after Close another result: %s", loc, cmp.Diff(found[loc], again))
		}
	}
	return out, found
}

func resultOf(t *testing.T, h Handler) (v any) {
	t.Helper()
	r, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// builtinSpecs has one of each built-in handler with a result that is the same each time.
var builtinSpecs = map[string]HandlerSpec{
	"step":        {Name: "count"},
	"step filter": {Name: "count", Params: builtin.Params{Guards: builtin.Guards{Filter: "arg0 > 500 && int(arg2) == -1"}}},
	"step hist":   {Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}},
	"step ret":    {Name: "hist", Params: builtin.Params{Exprs: []string{"ret"}, Scale: builtin.Scale{Lo: -1, Step: 500, Count: 8}}},
	"step values": {Name: "distinct", Params: builtin.Params{Exprs: []string{"arg2"}}},
	"leaf":        {Name: "count", Params: builtin.Params{Guards: builtin.Guards{Every: 3}}},
	"leaf limit":  {Name: "count", Params: builtin.Params{Guards: builtin.Guards{Hits: 10}}},
}

// TestBuiltins runs the built-in handlers in the engine and in the kernel, on
// the same program: what they find is the same, and the program does not notice.
func TestBuiltins(t *testing.T) {
	want, _ := alone(t, "calls", "2", "300")
	var first map[string]any
	executors(t, func(t *testing.T, where handler.Where) {
		out, found := results(t, where, builtinSpecs)
		if out != want {
			t.Errorf("it says %q, unprobed %q", out, want)
		}
		if first == nil {
			first = found
		}
		if !cmp.Equal(first, found) {
			t.Errorf("engine and kernel differ: %s", cmp.Diff(first, found))
		}
		if n := found["step"].(map[string]any)["hits"]; n != float64(600) {
			t.Errorf("%v hits of step, not 600", n)
		}
		if n := found["step filter"].(map[string]any)["hits"]; n != float64(94) {
			t.Errorf("%v hits of step pass the filter", n)
		}
		if n := found["leaf limit"].(map[string]any)["hits"]; n != float64(10) {
			t.Errorf("%v hits of leaf, not 10", n)
		}
	})
}

// TestLatency pairs entries and exits, of a function that calls itself, too.
func TestLatency(t *testing.T) {
	everywhere(t, func(t *testing.T, where handler.Where) {
		_, found := results(t, where, map[string]HandlerSpec{"fact": {Name: "latency"}, "one": {Name: "latency"}})
		for loc, want := range map[string]float64{"fact": 2 * 50 * (1 + 1 + 2 + 3 + 4 + 5), "one": 600} {
			if n := found[loc].(map[string]any)["count"]; n != want {
				t.Errorf("%s: %v calls paired, not %v: %v", loc, n, want, found[loc])
			}
		}
	})
}

// TestRecord reads arguments, strings, results and times of each call.
func TestRecord(t *testing.T) {
	var first []string
	everywhere(t, func(t *testing.T, where handler.Where) {
		p := launch(t, "calls", "1", "200")
		s := attach(t, p.pid)
		h := openHandler(t, s, HandlerSpec{Name: "record", Where: where, Params: builtin.Params{Exprs: []string{"arg0", "str(arg1)", "ret"}}})
		register(t, s, ProbeSpec{Location: "step", Handler: h, Cookie: 9})
		p.goOn()
		var got []string
		var last time.Duration
		for len(got) < 200 {
			rec, err := h.Read(time.Now().Add(hangs))
			if err != nil {
				t.Fatalf("%d records, then %v", len(got), err)
			}
			r, err := h.Decode(rec)
			if err != nil {
				t.Fatal(err)
			}
			e := r.(*builtin.Event)
			if e.Time < last || e.Took <= 0 || e.PID != uint32(p.pid) || e.Cookie != 9 {
				t.Fatalf("%+v after %v", e, last)
			}
			last = e.Time
			line := ""
			for _, v := range e.Values {
				line += v.String() + " "
			}
			got = append(got, line)
		}
		p.end()
		if _, err := h.Read(time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) || h.Lost() != 0 {
			t.Errorf("%v, %d lost", err, h.Lost())
		}
		if got[0] != `0 "alpha" 0 ` || got[4] != `28 ? 84 ` || got[7] != `49 "gamma" -1 ` {
			t.Errorf("%q", got[:10])
		}
		if first == nil {
			first = got
		} else if !slices.Equal(first, got) {
			t.Errorf("engine and kernel differ: %s", cmp.Diff(first, got))
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if _, err := h.Read(time.Now()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestStacks counts the callers of leaf, by names that are still known after the program's end.
func TestStacks(t *testing.T) {
	executors(t, func(t *testing.T, where handler.Where) {
		p := launch(t, "calls", "1", "300")
		s := attach(t, p.pid)
		h := openHandler(t, s, HandlerSpec{Name: "stacks", Where: where})
		register(t, s, ProbeSpec{Location: "leaf", Handler: h})
		p.goOn()
		p.end()
		<-s.Done()
		r, err := h.Result()
		if err != nil {
			t.Fatal(err)
		}
		counts := r.(*builtin.StackCounts)
		got := map[string]uint64{}
		for _, st := range counts.Stacks {
			names := []string{}
			for _, a := range st.Addrs {
				sym, ok := s.Symbolize(int(st.PID), a)
				if !ok || sym.Function == "" || sym.Binary != "calls" || sym.BuildID == "" {
					break
				}
				names = append(names, sym.Function)
			}
			got[strings.Join(names, "<")] += st.Count
		}
		want := map[string]uint64{"leaf<one<run": 200, "leaf<one<two<run": 100, "leaf<two<run": 100}
		if where == handler.Kernel && got["leaf<run"] > 0 { // it looks for a push of the frame pointer at the entry, after endbr64 or not
			want = map[string]uint64{"leaf<run": 300, "leaf<two<run": 100}
		}
		if !cmp.Equal(got, want) {
			t.Errorf("%s", cmp.Diff(want, got))
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOverride changes an argument, and a result.
func TestOverride(t *testing.T) {
	p := launch(t, "calls", "2", "300")
	s := attach(t, p.pid)
	h := openHandler(t, s, HandlerSpec{Name: "override", Where: handler.Engine, Params: builtin.Params{Arg: builtin.ReturnValue, Exprs: []string{"5"}}})
	register(t, s, ProbeSpec{Location: "step", Handler: h})
	p.goOn()
	out, _ := p.end()
	if n := said(t, out, "sum"); n != 5*600 {
		t.Errorf("sum %d, should be %d", n, 5*600)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestHandlerFollows: what children do counts in the same maps.
func TestHandlerFollows(t *testing.T) {
	executors(t, func(t *testing.T, where handler.Where) {
		p := launch(t, "forker", "fork", "10")
		s := attach(t, p.pid, Options{Follow: true})
		h := openHandler(t, s, HandlerSpec{Name: "distinct", Where: where, Params: builtin.Params{Exprs: []string{"pid"}}})
		register(t, s, ProbeSpec{Location: "work", Handler: h})
		p.goOn()
		p.end()
		<-s.Done()
		values := resultOf(t, h).(map[string]any)["values"].([]any)
		if len(values) != 11 {
			t.Errorf("%d processes, not 11: %v", len(values), values)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestHandlerExec: a child that runs a new program is counted once.
func TestHandlerExec(t *testing.T) {
	executors(t, func(t *testing.T, where handler.Where) {
		p := launch(t, "forker", "exec", "4")
		s := attach(t, p.pid, Options{Follow: true})
		h := openHandler(t, s, HandlerSpec{Name: "count", Where: where})
		defer h.Close()
		register(t, s, ProbeSpec{Location: "work", Handler: h})
		p.goOn()
		out, _ := p.end()
		<-s.Done()
		if n, want := resultOf(t, h).(map[string]any)["hits"], float64(said(t, out, "calls")+4*100); n != want {
			t.Errorf("%v hits, not %v", n, want)
		}
	})
}

// TestHandlerCloses takes a handler away while the program runs: its probes
// count on, it does not.
func TestHandlerCloses(t *testing.T) {
	executors(t, func(t *testing.T, where handler.Where) {
		p := launch(t, "threads", "2", "1000000000", "100")
		s := attach(t, p.pid)
		h := openHandler(t, s, HandlerSpec{Name: "count", Where: where})
		id := register(t, s, ProbeSpec{Location: "work", Handler: h})
		p.goOn()
		other := openHandler(t, s, HandlerSpec{Name: "count", Where: where})
		defer other.Close()
		unregistered := register(t, s, ProbeSpec{Location: "work", Handler: other})
		hitsOf := func(h Handler) float64 { return resultOf(t, h).(map[string]any)["hits"].(float64) }
		count := func() float64 { return hitsOf(h) }
		within(t, "hits", func() bool { return count() > 10 && hitsOf(other) > 10 })
		if err := s.Unregister(unregistered); err != nil {
			t.Fatal(err)
		}
		still, more := hitsOf(other), count()+10
		within(t, "hits of the other", func() bool { return count() > more })
		if n := hitsOf(other); n != still {
			t.Errorf("%v hits of a probe that is gone, then %v", still, n)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		n := count()
		if where == handler.Engine {
			hits := s.Hits(id)
			within(t, "more hits", func() bool { return s.Hits(id) > hits+10 })
		}
		if count() != n {
			t.Errorf("%v hits, then %v", n, count())
		}
		if err := h.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
	})
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hangs); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// TestHandlerRefused: what does not go together is said before anything is
// planted.
func TestHandlerRefused(t *testing.T) {
	p := launch(t, "calls")
	s := attach(t, p.pid)
	latency := openHandler(t, s, HandlerSpec{Name: "latency"})
	count := openHandler(t, s, HandlerSpec{Name: "count", Where: handler.Engine})
	for want, spec := range map[string]ProbeSpec{
		"name a function":     {Location: "step+0x4", Handler: latency},
		"leave %return away":  {Location: "step%return", Handler: latency},
		"another action":      {Location: "step", Handler: count, Action: ActionTell},
		"another session's":   {Location: "step", Handler: openHandler(t, attach(t, launch(t, "calls").pid), HandlerSpec{Name: "count"})},
		"no function nothing": {Location: "nothing", Handler: count},
	} {
		if _, err := s.Register(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", spec.Location, err)
		}
	}
	for want, spec := range map[string]HandlerSpec{
		"no such handler": {Name: "nothing"},
		"arg0 >":          {Name: "count", Params: builtin.Params{Guards: builtin.Guards{Filter: "arg0 >"}}},
		"in the tracee":   {Name: "stacks", Where: handler.Tracee},
	} {
		if _, err := s.OpenHandler(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", spec.Name, err)
		}
	}
	if n := len(s.Placements(0)); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

// adder is a handler that returns and prints the sum of two arguments.
func adder(t *testing.T, s Session) *build.Handler {
	t.Helper()
	ctx, err := program.ContextOf(s.ISA().Name())
	if err != nil {
		t.Fatal(err)
	}
	b := build.New("adder", ctx)
	x, y := b.Var(), b.Var()
	b.Arg(x, 0)
	b.Arg(y, 1)
	b.Add(asm.Add.Reg(x, y), asm.Mov.Reg(build.R0, x), asm.Return())
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	return build.One(build.Entry, p, ctx)
}

// TestRunHandler runs a handler on demand, on a task that stands.
func TestRunHandler(t *testing.T) {
	p := launch(t, "calls", "1", "100")
	s := attach(t, p.pid)
	spec := HandlerSpec{Handler: adder(t, s)}
	if _, err := s.RunHandler(spec, p.pid, 1, 2); !errors.Is(err, ErrNotStopped) {
		t.Errorf("on a task that runs: %v", err)
	}
	if err := s.Interrupt(p.pid); err != nil {
		t.Fatal(err)
	}
	run, err := s.RunHandler(spec, p.pid, 40, 2)
	if err != nil || run.Return != 42 {
		t.Errorf("%+v, %v", run, err)
	}
	run, err = s.RunHandler(HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg3"}}}, p.pid, 0, 0, 0, 9)
	if err != nil || run.Result.(*builtin.Histogram).Count != 1 || run.Result.(*builtin.Histogram).Max.Bits != 9 {
		t.Errorf("%+v, %v", run.Result, err)
	}
	if _, err := s.RunHandler(spec, p.pid, make([]uint64, 20)...); !errors.Is(err, hit.ErrArgs) {
		t.Errorf("20 arguments: %v", err)
	}
	if err := s.Resume(p.pid); err != nil {
		t.Fatal(err)
	}
	p.goOn()
	want, _ := alone(t, "calls", "1", "100")
	if out, _ := p.end(); out != want {
		t.Errorf("it says %q, unprobed %q", out, want)
	}
}

// TestHandlerPrints: what a handler prints comes as events.
func TestHandlerPrints(t *testing.T) {
	p := launch(t, "calls", "1", "3")
	s := attach(t, p.pid, Options{Life: true})
	h := openHandler(t, s, HandlerSpec{Handler: printer(t, s), Where: handler.Engine})
	register(t, s, ProbeSpec{Location: "step", Handler: h})
	p.goOn()
	p.end()
	var lines []string
	for e := range s.Events(t.Context()) {
		if b, ok := e.Body.(*event.Print); ok {
			lines = append(lines, b.Text)
		}
	}
	if got := strings.Join(lines, ";"); got != "step 0;step 7;step 14" {
		t.Errorf("printed %q", got)
	}
}

// printer is a handler that prints its first argument.
func printer(t *testing.T, s Session) *build.Handler {
	t.Helper()
	ctx, err := program.ContextOf(s.ISA().Name())
	if err != nil {
		t.Fatal(err)
	}
	b := build.New("printer", ctx)
	x := b.Var()
	b.Arg(x, 0)
	b.Print("step %ld", x)
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	return build.One(build.Entry, p, ctx)
}

// TestHandlerAllocations: a hit that runs handlers allocates nothing.
func TestHandlerAllocations(t *testing.T) {
	hits := pace[uint64](20_000, 12_000)
	p := launch(t, "threads", "1", strconv.FormatUint(hits, 10))
	s := attach(t, p.pid)
	for _, spec := range []HandlerSpec{
		{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}},
		{Name: "record", Params: builtin.Params{Exprs: []string{"arg0", "str(arg0)"}}},
		{Name: "distinct", Params: builtin.Params{Exprs: []string{"arg0"}, Guards: builtin.Guards{Filter: "arg0 != 1", Hits: hits * 2}}},
		{Name: "latency"},
	} {
		spec.Where = handler.Engine
		h := openHandler(t, s, spec)
		defer h.Close()
		register(t, s, ProbeSpec{Location: "work", Handler: h})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.goOn()
	p.end()
	runtime.ReadMemStats(&after)
	if n := s.Stats().Hits; n < 2*hits {
		t.Fatalf("%d hits", n)
	}
	if n := after.Mallocs - before.Mallocs; n > hits { // what else the process does, and the test, is some thousand
		t.Errorf("%d allocations in %d hits", n, 2*hits)
	}
}

// TestKernelBesideTraps: no trap of ptracer's is put where the kernel would take it for its own.
// Where the kernel has a uprobe, something else serves the probe.
func TestKernelBesideTraps(t *testing.T) {
	if kernel.Available() != nil {
		skip.Missing(t, "eBPF in the kernel")
	}
	p := launch(t, "calls", "2", "100")
	s := attach(t, p.pid)
	trap := register(t, s, ProbeSpec{Location: "step"})
	h := openHandler(t, s, HandlerSpec{Name: "count", Where: handler.Kernel})
	defer h.Close()
	if _, err := s.Register(ProbeSpec{Location: "step", Handler: h}); !errors.Is(err, uprobe.ErrOccupied) {
		t.Errorf("beside a trap: %v", err)
	}
	register(t, s, ProbeSpec{Location: "leaf", Handler: h})
	beside, err := s.Register(ProbeSpec{Location: "leaf"})
	switch {
	case !ptrace.DebugBefore && err != nil:
		t.Fatal(err)
	case ptrace.DebugBefore && !errors.Is(err, watch.ErrUprobe):
		t.Errorf("beside a uprobe: %v", err)
	}
	watch := register(t, s, ProbeSpec{Location: "run", Rung: breakpoint.Hardware})
	if _, err := s.Register(ProbeSpec{Location: "run", Handler: h}); ptrace.DebugBefore && !errors.Is(err, uprobe.ErrOccupied) {
		t.Errorf("beside a debug register: %v", err)
	}
	p.goOn()
	p.end()
	if n := s.Hits(watch); n != 2 {
		t.Errorf("%d hits of run, not 2", n)
	}
	if n := s.Hits(trap); n != 200 {
		t.Errorf("%d hits of step, not 200", n)
	}
	want := float64(2 * (100 + 34)) // two calls leaf twice
	if !ptrace.DebugBefore {
		if n := s.Hits(beside); n != uint64(want) {
			t.Errorf("%d hits of leaf, not %v", n, want)
		}
		want += 2 // those of run
	}
	if n := resultOf(t, h).(map[string]any)["hits"]; n != want {
		t.Errorf("%v hits in the kernel, not %v", n, want)
	}
}

// counterOf is a handler that adds n to a counter at each hit, from which first may
// end it.
func counterOf(t *testing.T, n int32, first ...func(*build.Builder)) *build.Handler {
	t.Helper()
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	b := build.New("counter", ctx)
	for _, f := range first {
		f(b)
	}
	m := b.Map(program.Map{Name: "sum", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	b.Index(m, 0)
	b.Const(build.R1, int64(n))
	b.AddTo(build.At(build.R0, 0), build.R1)
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	return build.One(build.Entry, p, ctx)
}

// sumOf is what counterOf's handlers have counted.
func sumOf(t *testing.T, h Handler) uint64 {
	t.Helper()
	for row, err := range build.Typed[uint32, uint64](h, "sum") {
		if err != nil {
			t.Fatal(err)
		}
		return row.Values[0]
	}
	return 0
}

// TestRegistry runs a user's handlers by name, and replaces one in use: what
// runs goes on with what it has.
func TestRegistry(t *testing.T) {
	reg := handler.New()
	if err := reg.Register("mine", counterOf(t, 1), handler.Access{Mode: 0o700}); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "calls", "1", "100")
	s := attach(t, p.pid, Options{Handlers: reg})
	open := func() Handler {
		h := openHandler(t, s, HandlerSpec{Name: "mine", Where: handler.Engine})
		register(t, s, ProbeSpec{Location: "step", Handler: h})
		t.Cleanup(func() { h.Close() })
		return h
	}
	old := open()
	if err := reg.Replace("mine", counterOf(t, 1000), handler.Peer{}); err != nil {
		t.Fatal(err)
	}
	fresh := open()
	if err := reg.Remove("mine", handler.Peer{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenHandler(HandlerSpec{Name: "mine"}); !errors.Is(err, handler.ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
	p.goOn()
	p.end()
	if a, b := sumOf(t, old), sumOf(t, fresh); a != 100 || b != 100_000 {
		t.Errorf("%d and %d", a, b)
	}
	if a, b := old.Info().Version, fresh.Info().Version; a != 1 || b != 2 {
		t.Errorf("versions %d and %d", a, b)
	}
}

// TestRecordThreads has threads that come one after the other, with the same memory for their own
// data, and children. Each must record its own ids.
func TestRecordThreads(t *testing.T) {
	for _, name := range []string{"ids", "ids-musl", "ids-static"} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, where handler.Where) {
				p := launch(t, name, "50")
				s := attach(t, p.pid, Options{Follow: true})
				h := openHandler(t, s, HandlerSpec{Name: "record", Where: where, Params: builtin.Params{Exprs: []string{"arg0", "arg1"}}})
				register(t, s, ProbeSpec{Location: "note", Handler: h})
				p.goOn()
				for n := range 110 {
					rec, err := h.Read(time.Now().Add(hangs))
					if err != nil {
						t.Fatalf("%d records, then %v", n, err)
					}
					r, err := h.Decode(rec)
					if err != nil {
						t.Fatal(err)
					}
					e := r.(*builtin.Event)
					if tid, pid := e.Values[0].String(), e.Values[1].String(); fmt.Sprint(e.TID) != tid || fmt.Sprint(e.PID) != pid {
						t.Errorf("%d: thread %s of %s says it is %d of %d", n, tid, pid, e.TID, e.PID)
					}
				}
				p.end()
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestProcessIDs has threads and children, in memory of their own and in their
// parent's, say which process they are.
func TestProcessIDs(t *testing.T) {
	other := func(b *build.Builder) {
		pid := b.Var()
		b.Arg(pid, 1)
		b.PIDTGID(build.R0)
		b.Add(asm.RSh.Imm(build.R0, 32))
		b.If(build.Ne(build.R0, 0).With(pid), func() { b.Stop() })
		b.Free(pid)
	}
	for _, name := range []string{"ids", "ids-static"} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, where handler.Where) {
				p := launch(t, name, "50")
				s := attach(t, p.pid, Options{Follow: true})
				h := openHandler(t, s, HandlerSpec{Handler: counterOf(t, 1, other), Where: where})
				register(t, s, ProbeSpec{Location: "note", Handler: h})
				p.goOn()
				p.end()
				<-s.Done()
				if n := sumOf(t, h); n != 110 {
					t.Errorf("%d of 110 calls were of the process that they say", n)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestThrow has exceptions and longjmp go through probed functions: what ends is
// paired, what does not is told, and the program comes to the same.
func TestThrow(t *testing.T) {
	everywhere(t, func(t *testing.T, where handler.Where) {
		const rounds = 400
		p := launch(t, "throw", strconv.Itoa(rounds))
		s := attach(t, p.pid)
		if where == handler.Tracee && jump.Enabled { // the unwinder, too
			register(t, s, ProbeSpec{Location: "throw:*"})
			register(t, s, ProbeSpec{Location: "throw:*%return"})
		}
		handlers := map[string]Handler{}
		for _, name := range []string{"catcher", "thrower", "lander", "leaper"} {
			handlers[name] = openHandler(t, s, HandlerSpec{Name: "latency", Where: where})
			register(t, s, ProbeSpec{Location: name, Handler: handlers[name]})
		}
		p.goOn()
		if out, _ := p.end(); !strings.HasSuffix(out, "sum 1990\n") {
			t.Errorf("printed %q", out)
		}
		for name, h := range handlers {
			r, err := h.Result()
			if err != nil {
				t.Fatal(err)
			}
			l, pairs := r.(*builtin.Histogram), uint64(0)
			if name == "catcher" || name == "lander" {
				pairs = rounds
			}
			if l.Count != pairs || pairs == 0 && l.Lost == 0 {
				t.Errorf("%s: %d calls paired, %d not", name, l.Count, l.Lost)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestSealed has handlers run in a program that forbids itself the system calls by
// which they would ask for ids: they are told them.
func TestSealed(t *testing.T) {
	needsJumps(t)
	p := launch(t, "sealed", "3", "200")
	s := attach(t, p.pid, Options{Follow: true})
	handlers := map[string]Handler{}
	for name, params := range map[string]builtin.Params{"latency": {}, "hist": {Exprs: []string{"arg0"}}, "record": {Exprs: []string{"arg0"}}} {
		h, err := s.OpenHandler(HandlerSpec{Name: name, Params: params, Where: handler.Tracee})
		if err != nil {
			t.Fatal(err)
		}
		handlers[name] = h
		register(t, s, ProbeSpec{Location: "work", Handler: h})
	}
	p.goOn()
	out, status := p.end()
	if said(t, out, "calls") != 1600 || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
	for _, name := range []string{"latency", "hist"} {
		if n := resultOf(t, handlers[name]).(map[string]any)["count"].(float64); n != 1600 {
			t.Errorf("%s has %v calls", name, n)
		}
	}
	for _, h := range handlers {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
