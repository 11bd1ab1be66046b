package builtin

import (
	"slices"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

func context(t testing.TB, arch string) program.Context {
	t.Helper()
	c, err := program.ContextOf(arch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parsed(t testing.TB, s string) *filter.Expr {
	t.Helper()
	e, err := filter.Parse(s, filter.Options{Strings: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func linear(t testing.TB, lo, hi int64, step uint64) Scale {
	t.Helper()
	s, err := Linear(lo, hi, step)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ofGo makes a handler for functions of one of Go's conventions.
func ofGo(c program.Context, calls arch.Convention, kind string, p Params) (*build.Handler, error) {
	c.Calls = calls
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == kind })
	return Kinds[i].MakeFor(c, p)
}

// made is a handler and its name in tests.
type made struct {
	name string
	make func(t testing.TB, ctx program.Context) (*build.Handler, error)
}

// all are handlers built in all possible ways.
var all = []made{
	{"count", func(t testing.TB, c program.Context) (*build.Handler, error) { return Count(c, build.Entry) }},
	{"hist", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Hist(c, build.Entry, parsed(t, "arg1"), Scale{})
	}},
	{"hist unsigned", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Hist(c, build.Exit, parsed(t, "load64(ret)"), Scale{})
	}},
	{"hist linear", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Hist(c, build.Entry, parsed(t, "int(arg1)"), linear(t, -50, 50, 10))
	}},
	{"hist linear by shift", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Hist(c, build.Entry, parsed(t, "uint64(arg1)"), linear(t, 0, 64, 16))
	}},
	{"record", func(t testing.TB, c program.Context) (*build.Handler, error) {
		h, _, err := Record(c, RecordOptions{Fields: []Field{
			{Expr: parsed(t, "arg0")}, {Expr: parsed(t, "str(arg1)"), Size: 20}, {Expr: parsed(t, "comm")}, {Expr: parsed(t, "load32(arg2)")},
		}})
		return h, err
	}},
	{"record exit", func(t testing.TB, c program.Context) (*build.Handler, error) {
		h, _, err := Record(c, RecordOptions{At: build.Exit, Fields: []Field{{Expr: parsed(t, "int(ret)")}}})
		return h, err
	}},
	{"record both", func(t testing.TB, c program.Context) (*build.Handler, error) {
		h, _, err := Record(c, RecordOptions{At: build.Exit, Fields: []Field{
			{Expr: parsed(t, "int(ret)")}, {Expr: parsed(t, "arg0")}, {Expr: parsed(t, "str(arg1)")}, {Expr: parsed(t, "load8(arg2)")},
		}})
		return h, err
	}},
	{"go record", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoRegisters, "record", Params{Exprs: []string{"arg0", "str(arg1)", "load8(arg8)"}})
	}},
	{"go record both", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoRegisters, "record", Params{Exprs: []string{"ret", "str(arg1)"}, Calls: Calls{Go: true}})
	}},
	{"go record of result", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoRegisters, "record", Params{Exprs: []string{"str(ret)"}, Strings: 1})
	}},
	{"go filter", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoRegisters, "count", Params{Guards: Guards{Filter: `str(arg0) == "a string" || str(arg2) =~ "other*"`}})
	}},
	{"go stack record", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoStack, "record", Params{Exprs: []string{"arg9", "str(arg1)"}, Strings: 500})
	}},
	{"go stack filter", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return ofGo(c, arch.GoStack, "hist", Params{Exprs: []string{"arg0 + arg1"}, Guards: Guards{Filter: `str(arg0) == "a string" || arg2 == arg3`}})
	}},
	{"latency", func(t testing.TB, c program.Context) (*build.Handler, error) { return Latency(c, Scale{}, Calls{}) }},
	{"latency go", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Latency(c, linear(t, 0, 1000, 100), Calls{Go: true, Depth: 8, Popped: 8})
	}},
	{"stacks", func(t testing.TB, c program.Context) (*build.Handler, error) { return Stacks(c, build.Entry, 128) }},
	{"distinct", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Distinct(c, build.Entry, parsed(t, "load8(arg0) + 1"), 128)
	}},
	{"override", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Override(c, 1, parsed(t, "load8(arg0) + 1"))
	}},
	{"override ret", func(t testing.TB, c program.Context) (*build.Handler, error) {
		return Override(c, ReturnValue, parsed(t, "0"))
	}},
	{"guards", func(t testing.TB, c program.Context) (*build.Handler, error) {
		h, err := Latency(c, Scale{}, Calls{If: parsed(t, "int(ret) < 0")})
		if err != nil {
			return nil, err
		}
		return guarded(t, h)
	}},
}

// guarded puts one guard of each kind in front of a handler, and two of some.
func guarded(t testing.TB, h *build.Handler) (*build.Handler, error) {
	for _, g := range []func(*build.Handler) (*build.Handler, error){
		func(h *build.Handler) (*build.Handler, error) { return Limit(h, 100, time.Minute) },
		func(h *build.Handler) (*build.Handler, error) { return Limit(h, 100, 0) },
		func(h *build.Handler) (*build.Handler, error) { return Limit(h, 0, time.Hour) },
		func(h *build.Handler) (*build.Handler, error) { return Rate(h, 10) },
		func(h *build.Handler) (*build.Handler, error) { return Every(h, 10) },
		func(h *build.Handler) (*build.Handler, error) { return Every(h, 16) },
		func(h *build.Handler) (*build.Handler, error) {
			return Filter(h, parsed(t, `arg0 > 4 && str(arg1) =~ "foo*" || comm == "redis" && pid != 12`))
		},
	} {
		var err error
		if h, err = g(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}
