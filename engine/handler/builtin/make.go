package builtin

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Params are the parameters of a built-in handler as text, as on a command line. A handler refuses
// parameters that it does not use.
type Params struct {
	// At is where count, hist, record, stacks and distinct run; a handler that uses the return
	// value always runs at the exit.
	At    build.Point
	Exprs []string // hist, distinct: one; record: any number; override: one
	// Scale of hist and latency; the zero value is powers of two.
	Scale Scale
	// Arg is the number of the argument that override changes, or ReturnValue.
	Arg int
	// Most is the limit of different stacks (0: 4096) and distinct values (0: 8192).
	Most int
	// Strings is the space for a string in a record (0: 64), Ring the size of its ring (0: 1 MiB),
	// both in bytes.
	Strings, Ring int
	Calls         Calls
	Guards
	// Open allows names of the program in expressions: the handler can only be run where they are
	// Bound.
	Open  bool   `json:",omitempty"`
	Bound *Bound `json:",omitempty"`
}

// Guards are the guards that any handler can have. Zero values mean none.
type Guards struct {
	Filter string        // a condition
	Every  uint32        // the first of every Every hits
	Rate   uint32        // at most this many per second
	Hits   uint64        // at most this many in all
	Life   time.Duration // at most this long after the first hit
}

// Kind is a built-in handler.
type Kind struct {
	Name string
	Doc  string // one line
	// Needs are the rights that it needs besides those of its expressions.
	Needs program.Rights
	make  func(program.Context, request) (*build.Handler, error)
	takes uses
}

// uses are the parameters that a kind uses.
type uses uint8

const (
	useExprs uses = 1 << iota
	useScale
	useArg
	useMost
	useRecord
	useCalls
	useAt
)

var useNames = [...]string{"expressions", "a scale", "an argument", "a number of entries", "strings and a ring", "calls", "a point"}

// Kinds are the built-in handlers, by name.
var Kinds = []Kind{
	{"count", "hits", 0, makeCount, useAt},
	{"distinct", "values of a number, and how often each was seen", 0, makeDistinct, useAt | useExprs | useMost},
	{"hist", "histogram of a number", 0, makeHist, useAt | useExprs | useScale},
	{"latency", "histogram of the time from entry to exit", 0, makeLatency, useScale | useCalls},
	{"override", "changes an argument or the return value", program.Override, makeOverride, useExprs | useArg},
	{"record", "arguments, strings, return value and time of each hit", 0, makeRecord, useAt | useExprs | useRecord | useCalls},
	{"stacks", "call stacks, and how often each was seen", program.ReadMemory, makeStacks, useAt | useMost},
}

// request is Params with the parsed expressions.
type request struct {
	Params
	ctx    program.Context
	exprs  []*filter.Expr
	filter *filter.Expr
	shown  []shown // of a record whose expressions were bound
	kept   int     // how many words an exit's record may keep of the entry; 0: as many as it needs
}

// Make makes the handler of kind k for functions of the context's calling convention or, if the
// handler needs something that this does not define, of the first convention that does.
func (k Kind) Make(ctx program.Context, p Params) (*build.Handler, error) {
	h, err := k.MakeFor(ctx, p)
	for _, c := range arch.Conventions {
		if !errors.Is(err, build.ErrNotKnown) {
			break
		}
		ctx.Calls = c
		if other, err2 := k.MakeFor(ctx, p); err2 == nil {
			return other, nil
		}
	}
	return h, err
}

// MakeFor makes the handler of kind k for functions of the context's calling convention. Handlers
// of other conventions have the same maps, with the same meaning. Errors wrap build.ErrNotKnown if
// the handler needs something that the convention does not define.
func (k Kind) MakeFor(ctx program.Context, p Params) (*build.Handler, error) {
	if wrong := p.given() &^ k.takes; wrong != 0 {
		return nil, fmt.Errorf("%w: %s takes no %s", ErrParams, k.Name, strings.TrimPrefix(useNames[bits.TrailingZeros8(uint8(wrong))], "a "))
	}
	r := request{Params: p, ctx: ctx}
	for _, text := range p.Exprs {
		e, err := filter.Parse(text, filter.Options{Strings: k.takes&useRecord != 0, What: "expression", Context: ctx, Open: p.Open})
		if err != nil {
			return nil, err
		}
		r.exprs = append(r.exprs, e)
	}
	open := slices.ContainsFunc(r.exprs, (*filter.Expr).IsOpen)
	if open {
		r.kept = keptWords(r.exprs)
	}
	if one := k.takes&(useExprs|useRecord) == useExprs; one && len(r.exprs) != 1 {
		return nil, fmt.Errorf("%w: %s takes one expression, not %d", ErrParams, k.Name, len(r.exprs))
	}
	if err := r.place(k); err != nil {
		return nil, err
	}
	open = open || r.filter != nil && r.filter.IsOpen()
	if p.Bound != nil {
		open = false
		if err := r.bind(); err != nil {
			return nil, err
		}
	}
	condition := r.condition(k)
	h, err := k.make(ctx, r)
	if err != nil {
		return nil, err
	}
	if h, err = p.Guards.before(h, condition); err == nil && open {
		h.Open = true
	}
	return h, err
}

// given returns the parameters that differ from their zero values.
func (p Params) given() (g uses) {
	for use, given := range map[uses]bool{
		useExprs: len(p.Exprs) > 0, useScale: p.Scale != (Scale{}), useArg: p.Arg != 0, useMost: p.Most != 0,
		useRecord: p.Strings != 0 || p.Ring != 0, useCalls: p.Calls != (Calls{}), useAt: p.At != build.Entry,
	} {
		if given {
			g |= use
		}
	}
	return g
}

// place parses the filter, and moves the handler to the exit if it uses the result.
func (r *request) place(k Kind) (err error) {
	all := r.exprs
	if r.Filter != "" {
		if r.filter, err = filter.Parse(r.Filter, filter.Options{Context: r.ctx, Open: r.Open}); err != nil {
			return err
		}
		if r.Bound != nil {
			if r.filter, err = filter.Parse(r.Bound.Filter, filter.Options{Context: r.ctx, As: r.filter}); err != nil {
				return err
			}
		}
		all = append(slices.Clone(all), r.filter)
	}
	if k.takes&useAt != 0 && slices.ContainsFunc(all, (*filter.Expr).UsesRet) {
		r.At = build.Exit
	}
	return nil
}

// condition returns the condition in front of the handler. In a handler that pairs calls, a
// condition on the result becomes part of the handler instead.
func (r *request) condition(k Kind) *filter.Expr {
	pairs := k.Name == "latency" || k.takes&useCalls != 0 && r.At == build.Exit && slices.ContainsFunc(r.exprs, (*filter.Expr).UsesArgs)
	if pairs && r.filter != nil && r.filter.UsesRet() {
		r.Calls.If = r.filter
		return nil
	}
	return r.filter
}

// before puts the guards in front of a handler, the condition first.
func (g Guards) before(h *build.Handler, condition *filter.Expr) (*build.Handler, error) {
	var err error
	put := func(wanted bool, guard func() (*build.Handler, error)) {
		if wanted && err == nil {
			h, err = guard()
		}
	}
	put(g.Hits != 0 || g.Life != 0, func() (*build.Handler, error) { return Limit(h, g.Hits, g.Life) })
	put(g.Rate != 0, func() (*build.Handler, error) { return Rate(h, g.Rate) })
	put(g.Every != 0, func() (*build.Handler, error) { return Every(h, g.Every) })
	put(condition != nil, func() (*build.Handler, error) { return Filter(h, condition) })
	return h, err
}

// Before puts the guards of p in front of any handler, for functions of its context's calling convention.
func (p Params) Before(h *build.Handler) (*build.Handler, error) {
	if p.Guards == (Guards{}) {
		return h, nil
	}
	var condition *filter.Expr
	if p.Filter != "" {
		var err error
		if condition, err = filter.Parse(p.Filter, filter.Options{Context: h.Context, Open: p.Open}); err != nil {
			return nil, err
		}
		if p.Bound != nil {
			if condition, err = filter.Parse(p.Bound.Filter, filter.Options{Context: h.Context, As: condition}); err != nil {
				return nil, err
			}
		}
	}
	h, err := p.before(h, condition)
	if err == nil && condition != nil {
		h.Open = condition.IsOpen()
	}
	return h, err
}

func makeCount(c program.Context, r request) (*build.Handler, error) { return Count(c, r.At) }

func makeHist(c program.Context, r request) (*build.Handler, error) {
	return Hist(c, r.At, r.exprs[0], r.Scale)
}

func makeLatency(c program.Context, r request) (*build.Handler, error) {
	return Latency(c, r.Scale, r.Calls)
}

func makeStacks(c program.Context, r request) (*build.Handler, error) {
	return Stacks(c, r.At, orElse(r.Most, 4096))
}

func makeDistinct(c program.Context, r request) (*build.Handler, error) {
	return Distinct(c, r.At, r.exprs[0], orElse(r.Most, 8192))
}

func makeOverride(c program.Context, r request) (*build.Handler, error) {
	return Override(c, r.Arg, r.exprs[0])
}

func makeRecord(c program.Context, r request) (*build.Handler, error) {
	o := RecordOptions{At: r.At, Ring: r.Ring, Calls: r.Calls, shown: r.shown, kept: r.kept}
	if r.Bound != nil {
		o.shape = r.Bound.Shape
	}
	for _, e := range r.exprs {
		o.Fields = append(o.Fields, Field{Expr: e, Size: r.Strings})
	}
	h, _, err := Record(c, o)
	return h, err
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}
