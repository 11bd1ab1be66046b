package builtin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/build"
)

// kind is the built-in handler called name.
func kind(t *testing.T, name string) Kind {
	t.Helper()
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no %s", name)
	return Kind{}
}

func TestMake(t *testing.T) {
	exprs := func(e ...string) Params { return Params{Exprs: e} }
	exit := func(p Params) Params { p.At = build.Exit; return p }
	filtered := func(p Params, f string) Params { p.Filter = f; return p }
	for _, c := range []struct {
		kind        string
		p           Params
		entry, exit bool
		guards      int
	}{
		{"count", Params{}, true, false, 0},
		{"count", exit(Params{}), false, true, 0},
		{"count", filtered(Params{}, "ret < 0"), false, true, 1},
		{"count", Params{Guards: Guards{Filter: "arg0 == 1", Every: 2, Rate: 3, Hits: 4, Life: time.Minute}}, true, false, 4},
		{"hist", exprs("arg0"), true, false, 0},
		{"hist", exprs("ret"), false, true, 0},
		{"hist", Params{Exprs: []string{"arg2"}, Scale: linear(t, 0, 10, 1)}, true, false, 0},
		{"latency", Params{Calls: Calls{Go: true}}, true, true, 0},
		{"latency", filtered(Params{}, "ret < 0"), true, true, 0},
		{"latency", filtered(Params{}, "arg0 < 0"), true, true, 1},
		{"record", exprs(), true, false, 0},
		{"record", exprs("arg0", "str(arg1)", "comm"), true, false, 0},
		{"record", exprs("arg0", "ret"), true, true, 0},
		{"record", filtered(exprs("arg0"), "ret < 0"), true, true, 0},
		{"record", Params{Exprs: []string{"ret"}, Strings: 10, Ring: 1 << 16}, false, true, 0},
		{"stacks", Params{Most: 7}, true, false, 0},
		{"distinct", Params{Exprs: []string{"arg0"}, Most: 7}, true, false, 0},
		{"override", Params{Exprs: []string{"7"}, Arg: 1}, true, false, 0},
		{"override", Params{Exprs: []string{"7"}, Arg: ReturnValue}, false, true, 0},
	} {
		h, err := kind(t, c.kind).Make(context(t, "arm64"), c.p)
		if err != nil {
			t.Errorf("%s %+v: %v", c.kind, c.p, err)
			continue
		}
		if (h.Entry != nil) != c.entry || (h.Exit != nil) != c.exit || len(h.Guards) != c.guards {
			t.Errorf("%s %+v: entry %v, exit %v, guards %v", c.kind, c.p, h.Entry != nil, h.Exit != nil, h.Guards)
		}
	}
}

func TestMakeRefused(t *testing.T) {
	for _, c := range []struct {
		kind string
		p    Params
		err  error
		want string
	}{
		{"count", Params{Exprs: []string{"arg0"}}, ErrParams, "count takes no expressions"},
		{"latency", Params{At: build.Exit}, ErrParams, "latency takes no point"},
		{"hist", Params{}, ErrParams, "hist takes one expression, not 0"},
		{"hist", Params{Exprs: []string{"str(arg0)"}}, expr.ErrSyntax, "a string alone"},
		{"hist", Params{Exprs: []string{"arg0"}, Most: 4}, ErrParams, "hist takes no number of entries"},
		{"hist", Params{Exprs: []string{"arg0 +"}}, expr.ErrSyntax, "a value is missing"},
		{"count", Params{Guards: Guards{Filter: "arg0 > "}}, expr.ErrSyntax, "a value is missing"},
		{"count", Params{Guards: Guards{Life: -1}}, ErrParams, "a limit"},
		{"latency", Params{Guards: Guards{Filter: "ret == arg0"}}, ErrParams, "its arguments are gone"},
	} {
		_, err := kind(t, c.kind).Make(context(t, "amd64"), c.p)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %s", c.kind, c.p, err, c.want)
		}
	}
}
