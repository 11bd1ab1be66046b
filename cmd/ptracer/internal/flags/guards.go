package flags

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Guards are the flags of verbs that run handlers: where they run, and what is
// asked in front of them.
type Guards struct {
	Where  whereFlag
	filter string
	every  uint32
	limit  uint64
	rate   uint32
	life   time.Duration
}

// whereFlag is a handler.Where as a flag.
type whereFlag struct{ handler.Where }

// whereNames are what --where offers.
var whereNames = []string{"auto", "tracee", "engine", "kernel"}

// Set implements pflag.Value.
func (w *whereFlag) Set(s string) (err error) { w.Where, err = handler.ParseWhere(s); return err }

// Type implements pflag.Value.
func (w *whereFlag) Type() string { return "where" }

// AboutArgs is of arguments, where they can be asked for.
const AboutArgs = `argN is word N of a function's arguments, from 0 on, as its own calling
convention has them in registers; ret is the first word of its result. A word
has 64 bits: a Go string is two, pointer and length, a slice three, a method's
receiver comes first; floating point has no word. Strings end at a 0, those of
Go's functions after their length. Where nothing says what the convention is,
as of some assembly functions of Go, that is told; $REGISTER (as $rax or $x0)
is that register anywhere. In the middle of a function (FUNCTION+OFFSET) argN
is what its register holds there.`

// AboutNames is of the program's own names in expressions.
const AboutNames = `Where the program has debug information, expressions know its names, in C, C++,
Rust and Go: arguments, variables of the function, globals (also ns::x, pkg.X), and
in C++ the members of this. order->total and req.URL.Path are members (a dot
follows pointers, too), list[2] is an element, *p what a pointer leads to, len(x) a
length, (struct order *)arg0 a cast; == "x" compares strings of any language, and
STATE_IDLE is the name of a constant beside an enumeration. Beside names, ret has the
type of the function's result; ret.1 is a Go function's second one. args.pid is the argument of
a name that is a word here. What is optimised out, or in a register of floating
point, is said so. A condition that reads memory takes about a microsecond.`

// Bind declares the flags.
func (g *Guards) Bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.filter, "filter", "", "take only hits for which `CONDITION` holds: 'arg0 > 4096 && arg1 == 2'")
	f.Uint32Var(&g.every, "every", 0, "take one hit of `N`")
	f.Uint32Var(&g.rate, "rate", 0, "take `N` hits a second at the most")
	f.Uint64Var(&g.limit, "limit", 0, "take `N` hits of each LOCATION, then end")
	f.DurationVar(&g.life, "for", 0, "take hits for `TIME` after the first one, then end")
	f.Var(&g.Where, "where", "what runs the handler: auto, the tracee (nothing stops), the engine (it stops the thread), the kernel (it needs the right to use eBPF)")
	_ = cmd.RegisterFlagCompletionFunc("where", cobra.FixedCompletions(whereNames, cobra.ShellCompDirectiveNoFileComp))
}

// Given is whether any of the flags is.
func (g *Guards) Given() bool { return *g != (Guards{}) }

// Params are what handlers are asked for by the flags.
func (g *Guards) Params() builtin.Guards {
	return builtin.Guards{Filter: g.filter, Every: g.every, Rate: g.rate, Hits: g.limit, Life: g.life}
}

// parse says of texts that are no expressions which flag has them.
func (g *Guards) parse(name string, exprs []string) error {
	is := func(flag, text string, strings bool) error {
		if _, err := filter.Parse(text, filter.Options{Strings: strings, What: flag, Open: true}); err != nil {
			return exit.Usage("%w", err)
		}
		return nil
	}
	flag := map[string]string{"hist": "--of", "record": "--fields"}[name]
	for i, text := range exprs {
		what := flag
		if len(exprs) > 1 {
			what = fmt.Sprintf("%s, expression %d", flag, i+1)
		}
		if err := is(what, text, name == "record"); err != nil {
			return err
		}
	}
	if g.filter != "" {
		return is("--filter", g.filter, false)
	}
	return nil
}

// Spec asks for a built-in handler. What is wrong with it is told before
// anything is started or attached to.
func (g *Guards) Spec(name string, p builtin.Params) (engine.HandlerSpec, error) {
	p.Guards, p.Open = g.Params(), true
	if g.life < 0 {
		return engine.HandlerSpec{}, exit.Usage("--for %v: a duration can't be negative", g.life)
	}
	if err := g.parse(name, p.Exprs); err != nil {
		return engine.HandlerSpec{}, err
	}
	spec := engine.HandlerSpec{Name: name, Params: p, Where: g.Where.Where}
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return spec, err
	}
	for _, k := range builtin.Kinds {
		if k.Name != name {
			continue
		}
		if _, err := k.Make(ctx, p); errors.Is(err, expr.ErrSyntax) || errors.Is(err, builtin.ErrParams) {
			return spec, exit.Usage("%w", err)
		} else if err != nil {
			return spec, err
		}
	}
	return spec, nil
}
