package engine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/internal/skip"
)

// Arguments of the fixture "goargs", by what it calls its functions with.

const argRounds = 20

// assembly is a function of Go's that is called by the stack: with a number and a slice.
var assembly = map[string]string{"amd64": "hash/crc32.castagnoliSSE42.abi0", "arm64": "hash/crc32.castagnoliUpdate.abi0"}[runtime.GOARCH]

// goCalls are the places where the fixture's calls are seen, what is asked for there, and
// what call i has.
var goCalls = []struct {
	where   string
	args    int
	strings uint8
	want    func(i int) string
}{
	{"main.ints", 3, 0, func(i int) string { return fmt.Sprint([]int{i, 2*i + 1, -i}) }},
	{"main.ints+0", 1, 0, func(i int) string { return fmt.Sprint([]int{i}) }},
	{"main.ints%return", 1, 0, func(i int) string { return fmt.Sprint([]int{2*i + 1}) }},
	{"main.name", 1, 1, func(i int) string { return fmt.Sprintf("%q", fmt.Sprintf("call\x00%d.", i)) }},
	{"main.name%return", 1, 1, func(i int) string { return fmt.Sprintf("%q", fmt.Sprintf("all\x00%d", i)) }},
	{"main.(*box).put", 3, 4, func(i int) string { return fmt.Sprintf("%d %q", i+5, fmt.Sprintf("box %d", i)) }},
	{"main.many", 8, 0, func(i int) string { return fmt.Sprint([]int{i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7}) }},
	{"goargs:mix", 2, 0, func(i int) string { return fmt.Sprint([]int{100 + i, i}) }},
	{"goargs:mix%return", 1, 0, func(i int) string { return fmt.Sprint([]int{200 + 3*i}) }},
	{"goargs:length", 1, 1, func(i int) string { return fmt.Sprintf("%q", fmt.Sprintf("text %d", i)) }},
	{assembly, 2, 2, func(i int) string { return fmt.Sprintf("%q", fmt.Sprintf("assembly %d", i)) }},
}

// argsOf asks for n arguments, with the texts of those whose bits are set.
func argsOf(n int, texts uint8) []Arg {
	args := make([]Arg, n)
	for i := range args {
		args[i].Text = texts>>i&1 != 0
	}
	return args
}

// shown is what a hit says of the arguments that were asked for.
func shown(h *event.Hit, strings uint8) string {
	switch strings {
	case 0:
		list := []int{}
		for _, v := range h.Args[:h.NArgs] {
			list = append(list, int(v))
		}
		return fmt.Sprint(list)
	case 4:
		return fmt.Sprintf("%d %q", int(h.Args[1]), h.Strings[2])
	}
	for i, s := range h.Strings {
		if strings>>i&1 != 0 {
			return fmt.Sprintf("%q", s)
		}
	}
	return "nothing"
}

// TestGoArguments: events have the arguments that the functions of each language were
// called with.
func TestGoArguments(t *testing.T) {
	p := launch(t, "goargs", fmt.Sprint(argRounds))
	s := attach(t, p.pid, Options{Life: true})
	ids := map[event.ProbeID]int{}
	for i, c := range goCalls {
		ids[register(t, s, ProbeSpec{Location: c.where, Action: ActionTell, Args: argsOf(c.args, c.strings)})] = i
	}
	p.goOn()
	p.end()
	got := make([][]string, len(goCalls))
	for e := range s.Events(t.Context()) {
		if h, ok := e.Body.(*event.Hit); ok {
			i := ids[h.Probe]
			got[i] = append(got[i], shown(h, goCalls[i].strings))
		}
	}
	for i, c := range goCalls {
		var want []string
		for n := range argRounds {
			want = append(want, c.want(n))
		}
		if diff := cmp.Diff(want, got[i]); diff != "" {
			t.Errorf("%s: %s", c.where, diff)
		}
	}
}

// TestGoHits: a Func is given them, too.
func TestGoHits(t *testing.T) {
	p := launch(t, "goargs", fmt.Sprint(argRounds))
	s := attach(t, p.pid)
	var mu sync.Mutex // the Funcs run in the session's thread
	var got []string
	add := func(where string, calls arch.Convention, show func(h Hit) string) {
		register(t, s, ProbeSpec{Location: where, Action: ActionCall, Func: func(h Hit) {
			if h.Calls() != calls {
				t.Errorf("%s is called as %v", where, h.Calls())
			}
			mu.Lock()
			got = append(got, show(h))
			mu.Unlock()
		}})
	}
	text := func(h Hit, i int) string {
		b := make([]byte, h.Arg(i+1))
		if err := h.ReadMemory(arch.Addr(h.Arg(i)), b); err != nil {
			t.Error(err)
		}
		return string(b)
	}
	add("main.many", arch.GoRegisters, func(h Hit) string { return fmt.Sprint(h.Arg(0), h.Arg(8)) })
	add("goargs:mix", arch.C, func(h Hit) string { return fmt.Sprint(h.Arg(0), h.Arg(1)) })
	add(assembly, arch.GoStack, func(h Hit) string { return fmt.Sprint(uint32(h.Arg(0)), text(h, 1)) })
	p.goOn()
	p.end()
	mu.Lock()
	defer mu.Unlock()
	var want []string
	for i := range argRounds {
		s := fmt.Sprintf("assembly %d", i)
		want = append(want, fmt.Sprint(i, i+8), "asm "+s, fmt.Sprint(100+i, i))
	}
	for i := range got { // what the checksum begins with is the library's business
		if _, s, ok := strings.Cut(got[i], "assembly"); ok {
			got[i] = "asm assembly" + s
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestGoHandlers: one handler at functions of several conventions takes each one's
// arguments, in each executor.
func TestGoHandlers(t *testing.T) {
	for _, where := range []handler.Where{handler.Tracee, handler.Engine, handler.Kernel} {
		t.Run(where.String(), func(t *testing.T) {
			if where == handler.Kernel && kernel.Available() != nil {
				skip.Missing(t, "eBPF in the kernel")
			}
			p := launch(t, "goargs", fmt.Sprint(argRounds))
			s := attach(t, p.pid)
			open := func(name string, params builtin.Params, at ...string) Handler {
				h := openHandler(t, s, HandlerSpec{Name: name, Params: params, Where: where})
				for _, at := range at {
					register(t, s, ProbeSpec{Location: at, Handler: h})
				}
				return h
			}
			hist := open("hist", builtin.Params{Exprs: []string{"arg0 + 2*arg1"}}, "main.ints", "goargs:mix")
			last := open("hist", builtin.Params{Exprs: []string{"arg8"}}, "main.many")
			count := open("count", builtin.Params{Guards: builtin.Guards{Filter: `str(arg0) =~ "call*" || str(arg0) == "text 5"`}}, "main.name", "goargs:length")
			one := open("count", builtin.Params{Guards: builtin.Guards{Filter: `str(arg2) == "box 5" || str(arg2) =~ "box 1*" || str(arg2) == "box"`}}, "main.(*box).put")
			strs := open("record", builtin.Params{Exprs: []string{"str(arg0)"}, Strings: 7}, "main.name", "goargs:length")
			whole := open("record", builtin.Params{Exprs: []string{"str(arg2)", "arg1", "ret"}}, "main.(*box).put")
			results := open("record", builtin.Params{Exprs: []string{"str(ret)"}}, "main.name")
			stack := open("record", builtin.Params{Exprs: []string{"str(arg1)", "arg2"}}, assembly)
			slice := open("distinct", builtin.Params{Exprs: []string{"load64(arg1) + load64(arg1 + 8)"}, Guards: builtin.Guards{Filter: "arg2 == 2"}}, "main.total")
			jumps := slices.ContainsFunc(s.Placements(0), func(pl Placement) bool { return isJump(pl.Rung) })
			if want := where == handler.Tracee && jump.Enabled; jumps != want {
				t.Errorf("places are jumps: %v, want %v: %+v", jumps, want, s.Placements(0))
			}
			p.goOn()
			p.end()

			sum, most := 0, 0
			var wantStrs, wantWhole, wantResult, wantStack []string
			for i := range argRounds {
				sum += i + 2*(2*i+1) + 100 + i + 2*i
				most = max(most, i+2*(2*i+1), 100+3*i)
				box := fmt.Sprintf("box %d", i)
				wantStrs = append(wantStrs, fmt.Sprintf("%q", fmt.Sprintf("call\x00%d.", i)[:6]), fmt.Sprintf("%q", fmt.Sprintf("text %d", i)[:6]))
				wantWhole = append(wantWhole, fmt.Sprintf("%q %d %d", box, i+5, 9*i+1+i+5+len(box)))
				wantResult = append(wantResult, fmt.Sprintf("%q", fmt.Sprintf("all\x00%d", i)))
				asm := fmt.Sprintf("assembly %d", i)
				wantStack = append(wantStack, fmt.Sprintf("%q %d", asm, len(asm)))
			}
			if r := result[*builtin.Histogram](t, hist); r.Count != 2*argRounds || int(r.Sum.Bits) != sum || int(r.Max.Bits) != most {
				t.Errorf("histogram %+v, want %d of the sum %d, up to %d", r, 2*argRounds, sum, most)
			}
			if r := result[*builtin.Histogram](t, last); r.Count != argRounds || r.Min.Bits != 8 || r.Max.Bits != argRounds+7 {
				t.Errorf("of arg8: %+v", r)
			}
			if n := result[builtin.Counter](t, count).Hits; n != argRounds+1 {
				t.Errorf("%d filtered by strings of both languages", n)
			}
			if n := result[builtin.Counter](t, one).Hits; n != 1+11 {
				t.Errorf("%d filtered by strings", n)
			}
			same := func(what string, h Handler, want []string, show func(e *builtin.Event) string) {
				t.Helper()
				if diff := cmp.Diff(want, recordsOf(t, h, show)); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
			same("strings", strs, wantStrs, func(e *builtin.Event) string { return e.Values[0].String() })
			same("the whole call", whole, wantWhole, func(e *builtin.Event) string {
				return e.Values[0].String() + " " + e.Values[1].String() + " " + e.Values[2].String()
			})
			same("results", results, wantResult, func(e *builtin.Event) string { return e.Values[0].String() })
			same("on the stack", stack, wantStack, func(e *builtin.Event) string {
				return e.Values[0].String() + " " + e.Values[1].String()
			})
			if d := fmt.Sprint(result[build.Result](t, slice)); !strings.Contains(d, fmt.Sprint(7*(argRounds-1)+8)) {
				t.Errorf("elements of slices: %s", d)
			}
		})
	}
}

// TestGoRunHandler: a handler that runs on demand takes the arguments that it is given, or
// those of the function that the task has stopped at.
func TestGoRunHandler(t *testing.T) {
	p := launch(t, "goargs", "2")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "main.ints", Action: ActionStop})
	p.goOn()
	for i := range 2 {
		e, _ := poll[*event.Stopped](t, s)
		for _, c := range []struct {
			args []uint64
			want int
		}{{nil, 2*i + 1}, {[]uint64{5, 6}, 6}} {
			run, err := s.RunHandler(HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg1"}}}, e.TID, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if h := run.Result.(*builtin.Histogram); h.Count != 1 || int(h.Max.Bits) != c.want {
				t.Errorf("call %d, given %d: %+v, want %d", i, c.args, h, c.want)
			}
		}
		if i == 1 {
			if err := s.Unregister(id); err != nil {
				t.Error(err)
			}
		}
		if err := s.Resume(e.TID); err != nil {
			t.Fatal(err)
		}
	}
	p.end()
}

// result is what a handler has found out.
func result[T build.Result](t *testing.T, h Handler) (r T) {
	t.Helper()
	found, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	r, ok := found.(T)
	if !ok {
		t.Fatalf("the result is a %T", found)
	}
	return r
}

// recordsOf are a handler's records so far.
func recordsOf(t *testing.T, h Handler, show func(e *builtin.Event) string) (list []string) {
	t.Helper()
	for {
		rec, err := h.Read(time.Now().Add(50 * time.Millisecond))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := h.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, show(r.(*builtin.Event)))
	}
}

// TestNotKnown: where nothing says where arguments or results are, that is the answer, and
// what asks for none works.
func TestNotKnown(t *testing.T) {
	p := launch(t, "goargs", "1")
	s := attach(t, p.pid, Options{Life: true})
	hist := func(expr string) Handler {
		return openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{expr}}})
	}
	refused := []struct{ where, expr string }{
		{"runtime.memmove", "arg0"}, {"runtime.memmove", "ret"}, {assembly, "ret"}, {assembly + "+" + middle(t, s), "arg0"},
	}
	if runtime.GOARCH == "amd64" {
		refused = append(refused, struct{ where, expr string }{"goargs:mix", "arg8"})
	}
	for _, c := range refused {
		_, err := s.Register(ProbeSpec{Location: c.where, Handler: hist(c.expr)})
		if !errors.Is(err, build.ErrNotKnown) || !strings.Contains(err.Error(), "register") && !strings.Contains(err.Error(), "$") {
			t.Errorf("%s of %s: %v", c.expr, c.where, err)
		}
	}
	mixed := register(t, s, ProbeSpec{Location: "runtime.mem*", Handler: hist("arg0")})
	if n := len(s.Placements(mixed)); n < 2 || !slices.ContainsFunc(s.Placements(mixed), func(pl Placement) bool { return errors.Is(pl.Err, build.ErrNotKnown) }) {
		t.Errorf("of %d places all are known", n)
	}
	result := "$" + s.ISA().RegNames()[find.ResultRegister(s.ISA())]
	register(t, s, ProbeSpec{Location: "runtime.memmove", Handler: hist(result)})
	register(t, s, ProbeSpec{Location: assembly, Handler: openHandler(t, s, HandlerSpec{Name: "latency"})})
	told := map[event.ProbeID]int{}
	for _, where := range []string{assembly + "%return", assembly + "+" + middle(t, s)} {
		told[register(t, s, ProbeSpec{Location: where, Action: ActionTell, Args: []Arg{{Text: true}}})] = 0
	}
	register(t, s, ProbeSpec{Location: assembly + "%return", Action: ActionCall, Func: func(h Hit) {
		if v := h.Result(); v != 0 {
			t.Errorf("a result of %#x", v)
		}
	}})
	p.goOn()
	p.end()
	warnings := 0
	for e := range s.Events(t.Context()) {
		switch b := e.Body.(type) {
		case *event.Warning:
			if warnings++; !strings.Contains(b.Text, "nothing says where") {
				t.Error(b.Text)
			}
		case *event.Hit:
			told[b.Probe]++
			if b.NArgs != 0 || b.Calls != arch.GoStack && b.Calls != arch.NotKnown {
				t.Errorf("told with %d arguments, called as %v", b.NArgs, b.Calls)
			}
		}
	}
	for id, n := range told {
		if n == 0 {
			t.Errorf("probe %d: no hit", id)
		}
	}
	if warnings != len(told)+1 {
		t.Errorf("%d warnings of %d probes", warnings, len(told)+1)
	}
}

// TestHardwareExit: at debug registers, too, a handler's exit program runs where the
// function returns.
func TestHardwareExit(t *testing.T) {
	p := launch(t, "calls", "1", "3")
	s := attach(t, p.pid)
	h := openHandler(t, s, HandlerSpec{Name: "record", Params: builtin.Params{Exprs: []string{"arg0", "ret"}}, Where: handler.Engine})
	register(t, s, ProbeSpec{Location: "step", Handler: h, Rung: breakpoint.Hardware})
	p.goOn()
	p.end()
	got := recordsOf(t, h, func(e *builtin.Event) string { return fmt.Sprint(e.Values[0], e.Values[1]) })
	if diff := cmp.Diff([]string{"0 0", "7 21", "14 42"}, got); diff != "" {
		t.Error(diff)
	}
}

// middle is where the second instruction of the assembly function is.
func middle(t *testing.T, s Session) string {
	t.Helper()
	id := register(t, s, ProbeSpec{Location: assembly + "+*"})
	defer s.Unregister(id)
	places := s.Placements(id)
	return fmt.Sprint(uint64(places[1].Addr - places[0].Addr))
}
