package handler

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/internal/toy"
)

// fake is an executor: a toy, or one that refuses with a reason.
type fake struct {
	err    error
	opened atomic.Int64
}

// fakeMaps are a toy's maps.
type fakeMaps struct {
	*toy.Machine
	mu  *atomic.Int64 // how many are open
	end atomic.Bool
}

func (m *fakeMaps) Close() error {
	if m.end.Swap(true) {
		return errors.New("closed twice")
	}
	m.mu.Add(-1)
	return nil
}

func (m *fakeMaps) Reset() error { return nil }

func (f *fake) Open(h *Verified) (Maps, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.opened.Add(1)
	return &fakeMaps{Machine: toy.New(h.Handler.Maps()), mu: &f.opened}, nil
}

func context(t testing.TB, arch string) program.Context {
	t.Helper()
	c, err := program.ContextOf(arch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// returns makes a handler that counts and returns n.
func returns(t testing.TB, name string, n int32, more ...func(b *build.Builder)) *build.Handler {
	t.Helper()
	ctx := context(t, "amd64")
	b := build.New(name, ctx)
	hits := b.Map(program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	for _, f := range more {
		f(b)
	}
	b.Index(hits, 0)
	b.Inc(build.At(build.R0, 0))
	b.Return(n)
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	h := build.One(build.Entry, p, ctx)
	h.Read = func(s build.Source) (build.Result, error) { return builtin.ReadCount(s), nil }
	return h
}

// root may do everything.
var root = Peer{Rights: program.ReadMemory | program.WriteMemory | program.Override}

func options(t testing.TB, by Peer, engine Executor) Options {
	return Options{By: by, Context: context(t, "amd64"), Executors: Executors{Engine: engine}}
}

// hit runs an instance once.
func hit(t testing.TB, in *Instance) uint64 {
	t.Helper()
	if !in.Acquire() {
		t.Fatal("closed")
	}
	defer in.Release()
	p := in.At(in.Handler.First()).Program
	r0, _, err := in.Maps.(*fakeMaps).Run(p, &toy.Hit{Ctx: make([]byte, in.Handler.Context.Size)})
	if err != nil {
		t.Fatal(err)
	}
	return r0
}

func TestBuiltins(t *testing.T) {
	r := New()
	names := []string{}
	for _, i := range r.List() {
		if !i.Builtin || i.Doc == "" || i.Mode.String() != "r-xr-xr-x" || i.Version != 1 {
			t.Errorf("%+v", i)
		}
		names = append(names, i.Name)
	}
	if got := strings.Join(names, " "); got != "count distinct hist latency override record stacks" {
		t.Errorf("there are %s", got)
	}
	f := &fake{}
	o := options(t, Peer{UID: 7}, f)
	o.Params = builtin.Params{Exprs: []string{"arg0"}, Guards: builtin.Guards{Hits: 3}}
	in, err := r.Open("hist", o)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		hit(t, in)
	}
	res, err := in.Result(Peer{UID: 7})
	if err != nil || res.(*builtin.Histogram).Count != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	if l, err := in.Limits(Peer{UID: 7}); err != nil || len(l) != 1 || !l[0].Done {
		t.Errorf("%+v, %v", l, err)
	}
	if err := in.Close(); err != nil || f.opened.Load() != 0 {
		t.Errorf("%v, %d open", err, f.opened.Load())
	}
}

func TestRegister(t *testing.T) {
	r := New()
	bad := returns(t, "bad", 0, func(b *build.Builder) { b.Load(build.R0, build.At(build.R0, 0)) })
	writes, err := builtin.Override(context(t, "amd64"), 0, parse(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	uneven := returns(t, "uneven", 0)
	uneven.Exit = returns(t, "uneven", 0, func(b *build.Builder) {
		b.Map(program.Map{Name: "more", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	}).Entry
	for _, c := range []struct {
		name string
		h    *build.Handler
		a    Access
		want error
		text string
	}{
		{"good", returns(t, "good", 1), Access{}, nil, ""},
		{"good", returns(t, "good", 1), Access{}, ErrExists, "register good"},
		{"count", returns(t, "good", 1), Access{}, ErrExists, "register count"},
		{"", returns(t, "good", 1), Access{}, ErrName, "1 to 64"},
		{"a b", returns(t, "good", 1), Access{}, ErrName, "1 to 64"},
		{"../x", returns(t, "good", 1), Access{}, ErrName, "1 to 64"},
		{strings.Repeat("x", 65), returns(t, "good", 1), Access{}, ErrName, "1 to 64"},
		{"mode", returns(t, "good", 1), Access{Mode: 0o1000}, errors.ErrUnsupported, "mode"},
		{"bad", bad, Access{}, verify.ErrUnsafe, "bad: instruction"},
		{"writes", writes, Access{}, verify.ErrRights, "override"},
		{"writes", writes, Access{Rights: program.Override}, nil, ""},
		{"nil", nil, Access{}, nil, "it has no program"},
		{"empty", &build.Handler{}, Access{}, nil, "it has no program"},
		{"uneven", uneven, Access{}, nil, "its programs have different maps"},
	} {
		err := r.Register(c.name, c.h, c.a)
		if c.text == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var e *Error
		if c.want != nil && !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v, %s", c.name, err, c.want, c.text)
		}
	}
	if i, err := r.Lookup("writes"); err != nil || i.Needs != program.Override || i.Mode != DefaultMode {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := r.Lookup("nothing"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func parse(t testing.TB, s string) *filter.Expr {
	t.Helper()
	e, err := filter.Parse(s, filter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAccess(t *testing.T) {
	a := Access{UID: 10, GID: 20, Mode: 0o750}
	if a.Mode.String() != "rwxr-x---" {
		t.Error(a.Mode)
	}
	owner, group, other := Peer{UID: 10, GIDs: []uint32{20}}, Peer{UID: 11, GIDs: []uint32{1, 20}}, Peer{UID: 12}
	for _, c := range []struct {
		by   Peer
		what Mode
		ok   bool
	}{
		{owner, MayRun, true}, {owner, MayReplace, true}, {owner, MayRead, true},
		{group, MayRun, true}, {group, MayReplace, false}, {group, MayRead, true},
		{other, MayRun, false}, {other, MayReplace, false}, {other, MayRead, false},
		{Peer{}, MayReplace, true},
	} {
		err := a.may(c.by, c.what)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPermission) {
			t.Errorf("%+v, %v: %v", c.by, c.what, err)
		}
	}
	// The owner's bits count for the owner, and not the group's.
	if err := (Access{UID: 10, GID: 20, Mode: 0o070}).may(owner, MayRun); err == nil {
		t.Error("the owner has his group's bits")
	}
}

func TestOpenRights(t *testing.T) {
	r := New()
	if err := r.Register("mine", returns(t, "mine", 1), Access{UID: 10, Mode: 0o710, GID: 20}); err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	if _, err := r.Open("mine", options(t, Peer{UID: 11}, f)); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	in, err := r.Open("mine", options(t, Peer{UID: 11, GIDs: []uint32{20}}, f))
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]error{11: nil, 10: nil, 0: nil, 12: ErrPermission} {
		if _, err := in.Result(Peer{UID: uid}); !errors.Is(err, want) {
			t.Errorf("user %d reads: %v", uid, err)
		}
		if _, err := in.Limits(Peer{UID: uid}); !errors.Is(err, want) {
			t.Errorf("user %d reads limits: %v", uid, err)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := in.Result(root); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := in.Close(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}

	o := options(t, Peer{UID: 5}, f)
	o.Params.Exprs = []string{"1"}
	if _, err := r.Open("override", o); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "override registers") {
		t.Error(err)
	}
	o.Params.Exprs = []string{"load8(arg0)"}
	if _, err := r.Open("hist", o); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "read memory") {
		t.Error(err)
	}
	o.By.Rights = program.ReadMemory
	in, err = r.Open("hist", o)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	o.Context = context(t, "arm64")
	if _, err := r.Open("mine", Options{By: root, Context: o.Context}); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "amd64") {
		t.Error(err)
	}
	if _, err := r.Open("nothing", o); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if f.opened.Load() != 0 {
		t.Errorf("%d maps are left open", f.opened.Load())
	}
}

func TestReplaceAndRemove(t *testing.T) {
	r, f := New(), &fake{}
	owner := Peer{UID: 10}
	if err := r.Register("h", returns(t, "h", 1), Access{UID: 10}); err != nil {
		t.Fatal(err)
	}
	first, err := r.Open("h", options(t, root, f))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Replace("h", returns(t, "h", 2), Peer{UID: 11}); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	bad := returns(t, "bad", 0, func(b *build.Builder) { b.Load(build.R0, build.At(build.R0, 0)) })
	if err := r.Replace("h", bad, owner); !errors.Is(err, verify.ErrUnsafe) {
		t.Error(err)
	}
	if err := r.Replace("h", returns(t, "h", 2), owner); err != nil {
		t.Fatal(err)
	}
	if err := r.Replace("count", returns(t, "h", 2), owner); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	second, err := r.Open("h", options(t, root, f))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := r.Lookup("h"); err != nil || i.Version != 2 || i.Instances != 1 || i.UID != 10 {
		t.Errorf("%+v, %v", i, err)
	}
	if err := r.Remove("h", Peer{UID: 11}); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	if err := r.Remove("h", owner); err != nil {
		t.Error(err)
	}
	if err := r.Remove("h", owner); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := r.Replace("h", returns(t, "h", 2), owner); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// Both continue, each with its own handler.
	if a, b := hit(t, first), hit(t, second); a != 1 || b != 2 || first.Version != 1 || second.Version != 2 {
		t.Errorf("%d and %d", a, b)
	}
	// The maps exist until the hit has ended.
	if !second.Acquire() {
		t.Fatal("closed")
	}
	if err := second.Close(); err != nil || second.Acquire() {
		t.Errorf("%v, or a hit gets in after Close", err)
	}
	if f.opened.Load() != 2 {
		t.Error("maps are closed while a hit is in")
	}
	second.Release()
	if err := first.Close(); err != nil || f.opened.Load() != 0 {
		t.Errorf("%v, %d open", err, f.opened.Load())
	}
}

func TestWhere(t *testing.T) {
	h := returns(t, "h", 1)
	no := &fake{err: errors.New("no room")}
	prints := returns(t, "prints", 1, func(b *build.Builder) {
		s := b.Slot(8)
		b.Zero(s)
		b.Addr(build.R1, s)
		for i, r := range []build.Reg{build.R2, build.R3, build.R4, build.R5} {
			b.Const(r, int64(8*(1-min(i, 1))))
		}
		b.Call(program.FnTracePrintk)
	})
	for _, c := range []struct {
		h     *build.Handler
		where Where
		x     Executors
		want  Where
		why   string
		fails string
	}{
		{h, Auto, Executors{&fake{}, &fake{}, &fake{}}, Tracee, "tracee: can run it", ""},
		{h, Auto, Executors{no, &fake{}, &fake{}}, Kernel, "tracee: no room; kernel: can run it", ""},
		{h, Auto, Executors{nil, no, &fake{}}, Engine, "tracee: unsupported: not there; kernel: no room; engine: can run it", ""},
		{h, Auto, Executors{no, no, nil}, Auto, "", "in the tracee: no room\nin the kernel: no room\nin the engine: unsupported: not there"},
		{h, Engine, Executors{&fake{}, &fake{}, &fake{}}, Engine, "asked for", ""},
		{h, Tracee, Executors{no, &fake{}, &fake{}}, Auto, "", "in the tracee: no room"},
		{h, Where(9), Executors{&fake{}, &fake{}, &fake{}}, Auto, "", "in the executor 9: unsupported"},
		{prints, Auto, Executors{&fake{}, nil, &fake{}}, Engine, "tracee: unsupported: no helper trace_printk there; kernel: unsupported: not there; engine: can run it", ""},
		{prints, Auto, Executors{nil, &fake{}, &fake{}}, Engine, "tracee: unsupported: not there; kernel: what is printed goes to its trace pipe; engine: can run it", ""},
		{prints, Auto, Executors{nil, &fake{}, no}, Kernel, "tracee: unsupported: not there; kernel: what is printed goes to its trace pipe; engine: no room; kernel: can run it", ""},
	} {
		o := Options{By: root, Context: context(t, "amd64"), Where: c.where, Executors: c.x}
		in, err := OpenValue(c.h, o)
		if c.fails != "" {
			if err == nil || !strings.HasSuffix(err.Error(), c.fails) && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%v: %v, want %s", c.where, err, c.fails)
			}
			continue
		}
		if err != nil || in.Where != c.want || in.Why != c.why {
			t.Errorf("%v: %+v, %v", c.where, in, err)
		}
	}
	for i, name := range whereNames {
		if w, err := ParseWhere(name); err != nil || w != Where(i) || w.String() != name {
			t.Errorf("%s: %v, %v", name, w, err)
		}
	}
	if _, err := ParseWhere("moon"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestOpenValue(t *testing.T) {
	f := &fake{}
	h := returns(t, "h", 3)
	o := options(t, Peer{UID: 10}, f)
	o.Params.Filter = "arg0 == 1"
	in, err := OpenValue(h, o)
	if err != nil || hit(t, in) != 0 {
		t.Errorf("%v, or the guard lets it run", err)
	}
	if _, err := in.Result(Peer{UID: 11}); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	in.Close()
	o.Params.Filter = "arg0 =="
	if _, err := OpenValue(h, o); !errors.Is(err, expr.ErrSyntax) {
		t.Error(err)
	}
	o.Params.Filter = `str(arg0) == "x"`
	if _, err := OpenValue(h, o); !errors.Is(err, verify.ErrRights) {
		t.Error(err)
	}
	if _, err := OpenValue(nil, o); err == nil {
		t.Error("nothing can be opened")
	}
	if f.opened.Load() != 0 {
		t.Errorf("%d maps are left open", f.opened.Load())
	}
}

// Names change while handlers are opened, hit and closed.
func TestConcurrent(t *testing.T) {
	r, f := New(), &fake{}
	if err := r.Register("h", returns(t, "h", 1), Access{}); err != nil {
		t.Fatal(err)
	}
	next := returns(t, "h", 2)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 100 {
				in, err := r.Open("h", options(t, root, f))
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				var hits sync.WaitGroup
				hits.Go(func() {
					for in.Acquire() {
						if in.Maps.(*fakeMaps).end.Load() {
							t.Error("a hit after the end")
						}
						in.Release()
					}
				})
				r.List()
				in.Close()
				hits.Wait()
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			err := error(nil)
			switch i % 3 {
			case 0:
				err = r.Replace("h", next, root)
			case 1:
				err = r.Remove("h", root)
			case 2:
				err = r.Register("h", next, Access{})
			}
			if err != nil {
				t.Error(i, err)
			}
		}
	})
	wg.Wait()
	if f.opened.Load() != 0 {
		t.Errorf("%d maps are left open", f.opened.Load())
	}
}

func TestAcquireAllocates(t *testing.T) {
	in, err := OpenValue(returns(t, "h", 1), options(t, root, &fake{}))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { in.Acquire(); in.Release() }); n != 0 {
		t.Errorf("%v allocations a hit", n)
	}
}

func TestInKernel(t *testing.T) {
	if err := kernel.Available(); err != nil {
		skip.Missing(t, err.Error())
	}
	o := Options{By: root, Context: context(t, runtime.GOARCH), Executors: Executors{Kernel: InKernel{}}}
	in, err := New().Open("latency", o)
	if err != nil {
		t.Fatal(err)
	}
	res, err := in.Result(root)
	if err != nil || in.Where != Kernel || res.(*builtin.Histogram).Count != 0 {
		t.Errorf("%v, %+v, %v", in.Where, res, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func ExampleMode() {
	fmt.Println(DefaultMode)
	// Output: rwx--x--x
}
