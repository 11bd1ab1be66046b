package builtin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/toy"
)

var update = flag.Bool("update", false, "write the goldens")

// words are the places of registers in contexts.
type words struct {
	args       []int
	ret, sp, g int
	size       int
}

var contexts = map[string]words{
	"amd64": {[]int{14, 13, 12, 11, 9, 8}, 10, 19, 1, 21},
	"arm64": {[]int{0, 1, 2, 3, 4, 5}, 0, 31, 28, 34},
}

// rig runs a handler on made-up hits.
type rig struct {
	t *testing.T
	words
	h     *build.Handler
	m     *toy.Machine
	hit   toy.Hit
	sp    uint64
	steps int
}

const someText = 0x7000

// each runs a test on both instruction sets.
func each(t *testing.T, make func(c program.Context) (*build.Handler, error), test func(r *rig)) {
	for name, w := range contexts {
		t.Run(name, func(t *testing.T) {
			h, err := make(context(t, name))
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{t: t, words: w, h: h, m: toy.New(h.Maps()), sp: 0x8000}
			r.hit = toy.Hit{Time: 1e9, PIDTGID: 12<<32 | 13, Cookie: 5, Mem: map[uint64]byte{}}
			copy(r.hit.Comm[:], "worker")
			r.write(someText, []byte("some text\x00\x11\x22"))
			for _, p := range both(h) {
				if err := program.Validate(p); err != nil {
					t.Fatal(err)
				}
			}
			test(r)
		})
	}
}

func (r *rig) write(at uint64, b []byte) {
	for i, c := range b {
		r.hit.Mem[at+uint64(i)] = c
	}
}

// run runs the program at a point; regs are by word.
func (r *rig) run(at build.Point, regs map[int]uint64) {
	r.t.Helper()
	r.hit.Ctx = make([]byte, 8*r.size)
	for w, v := range regs {
		binary.LittleEndian.PutUint64(r.hit.Ctx[8*w:], v)
	}
	_, steps, err := r.m.Run(r.h.At(at), &r.hit)
	if err != nil {
		r.t.Fatal(err)
	}
	r.steps = steps
}

// enter is a hit at the entry, leave one at the exit; both with the stack pointer r.sp.
func (r *rig) enter(args ...uint64) {
	r.t.Helper()
	regs := map[int]uint64{r.words.sp: r.sp, r.g: 0x5000}
	for i, a := range args {
		regs[r.args[i]] = a
	}
	r.run(build.Entry, regs)
}

func (r *rig) leave(ret uint64) {
	r.t.Helper()
	r.run(build.Exit, map[int]uint64{r.ret: ret, r.words.sp: r.sp, r.g: 0x5000})
}

// word of the context after a run.
func (r *rig) reg(w int) uint64 { return binary.LittleEndian.Uint64(r.hit.Ctx[8*w:]) }

func (r *rig) result() build.Result {
	r.t.Helper()
	res, err := r.h.Read(r.m)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// golden compares a result's text and JSON with a file.
func (r *rig) golden(name string, results ...build.Result) {
	r.t.Helper()
	var b bytes.Buffer
	for _, res := range results {
		if err := res.Text(&b, 60); err != nil {
			r.t.Fatal(err)
		}
		j, err := json.MarshalIndent(res, "", " ")
		if err != nil {
			r.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", j)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		r.t.Errorf("%s is now:\n%s", path, b.Bytes())
	}
}

func TestCount(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Count(c, build.Entry) }, func(r *rig) {
		for i := range 10 {
			r.hit.CPU = i % toy.CPUs
			r.enter()
		}
		r.golden("count", r.result())
		if r.steps > 10 {
			r.t.Errorf("a count takes %d instructions", r.steps)
		}
	})
}

func TestHistLog2(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		return Hist(c, build.Entry, parsed(t, "arg1"), Scale{})
	}, func(r *rig) {
		values := []int64{0, 1, 1, 2, 3, 4, 7, 8, 1000, 4096, 4097, 8191, 1 << 40, -1, -100}
		for i, v := range values {
			r.hit.CPU = i % toy.CPUs
			r.enter(0, uint64(v))
		}
		h := r.result().(*Histogram)
		r.golden("hist", h)
		if h.Quantile(0.5).String() != "7" || h.Quantile(1).String() != fmt.Sprint(1<<40) || h.Quantile(0).String() != "-100" {
			r.t.Errorf("quantiles %v %v %v", h.Quantile(0), h.Quantile(0.5), h.Quantile(1))
		}
	})
}

// Each value is in the right bucket.
func TestBuckets(t *testing.T) {
	scales := []Scale{{}, linear(t, -50, 50, 10), linear(t, 0, 64, 16), linear(t, 5, 6, 1), linear(t, -1<<63, 1<<63-1, 1<<60)}
	for _, e := range []string{"arg0", "uint64(arg0)"} {
		for _, scale := range scales {
			signed := !strings.HasPrefix(e, "u")
			each(t, func(c program.Context) (*build.Handler, error) { return Hist(c, build.Entry, parsed(t, e), scale) }, func(r *rig) {
				for bit := range 64 {
					for _, v := range []uint64{1 << bit, 1<<bit - 1, 1<<bit + 1, -(1 << bit), uint64(bit)} {
						r.m = toy.New(r.h.Maps())
						r.enter(v)
						checkBucket(r.t, r.result().(*Histogram), scale, Num{v, signed})
					}
				}
			})
		}
	}
}

func checkBucket(t *testing.T, h *Histogram, s Scale, v Num) {
	t.Helper()
	less := func(a, b Num) bool {
		if a.Signed {
			return int64(a.Bits) < int64(b.Bits)
		}
		return a.Bits < b.Bits
	}
	if h.Count != 1 || h.Sum != v || h.Min != v || h.Max != v {
		t.Errorf("%v: count %d, sum %v, min %v, max %v", v, h.Count, h.Sum, h.Min, h.Max)
	}
	if h.Under+h.Over+uint64(len(h.Buckets)) != 1 {
		t.Fatalf("%v: %d below, %d above, in %d buckets", v, h.Under, h.Over, len(h.Buckets))
	}
	first, _ := s.bounds(0)
	_, last := s.bounds(s.buckets() - 1)
	switch {
	case h.Under == 1:
		if s.Step == 0 && int64(v.Bits) >= 0 || s.Step != 0 && !less(v, Num{first, v.Signed}) {
			t.Errorf("%v is below", v)
		}
	case h.Over == 1:
		if !less(Num{last, v.Signed}, v) {
			t.Errorf("%v is above %v", v, Num{last, v.Signed})
		}
	default:
		if b := h.Buckets[0]; less(v, b.Lo) || less(b.Hi, v) {
			t.Errorf("%v is in [%v, %v]", v, b.Lo, b.Hi)
		}
	}
}

func TestHistLinear(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		return Hist(c, build.Exit, parsed(t, "int(load32(ret))"), linear(t, -20, 20, 5))
	}, func(r *rig) {
		for _, v := range []int32{-21, -20, -16, -15, -1, 0, 0, 0, 4, 5, 19, 20, 99} {
			r.write(0x100, binary.LittleEndian.AppendUint32(nil, uint32(v)))
			r.leave(0x100)
		}
		r.leave(0x999) // nothing there
		r.golden("linear", r.result())
	})
}

func TestHistEmpty(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		return Hist(c, build.Entry, parsed(t, "arg0"), Scale{})
	}, func(r *rig) { r.golden("empty", r.result()) })
}

func TestLatency(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Latency(c, Scale{}, Calls{Depth: 4}) }, func(r *rig) {
		call := func(depth int) {}
		call = func(depth int) { // takes 100 ns plus the nested calls
			r.sp -= 0x40
			r.enter()
			r.hit.Time += 100
			if depth > 1 {
				call(depth - 1)
			}
			r.leave(0)
			r.sp += 0x40
		}
		r.leave(0)                   // without an entry
		call(1)                      // 100
		call(4)                      // 100 200 300 400
		call(6)                      // the two innermost are too deep
		r.hit.PIDTGID = 12<<32 | 14  // another thread
		call(1)                      // 100
		h := r.result().(*Histogram) // 100: 1 + 1 + 0 + 1
		if h.Count != 1+4+4+1 || h.Lost != 0 || h.Deep != 2 || h.Min.Bits != 100 || h.Max.Bits != 600 || h.Sum.Bits != 100+1000+300+400+500+600+100 {
			r.t.Errorf("%+v", h)
		}
		r.golden("latency", h)
	})
}

// A call that longjmp or an exception has ended, and a call with an unseen entry, cause no mix-up.
func TestLatencyUnwound(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Latency(c, Scale{}, Calls{}) }, func(r *rig) {
		r.sp = 0x8000
		r.enter()
		for range 3 { // deeper calls, left without a return
			r.sp -= 0x40
			r.hit.Time += 10
			r.enter()
		}
		r.sp = 0x8000
		r.hit.Time += 10
		r.leave(0)
		h := r.result().(*Histogram)
		if h.Count != 1 || h.Sum.Bits != 40 || h.Lost != 3 {
			r.t.Errorf("left by longjmp: %+v", h)
		}

		r.enter()
		r.sp -= 0x40
		r.enter() // left
		r.enter() // at the same place again
		r.hit.Time += 5
		r.leave(0)
		r.sp -= 0x40
		r.leave(0) // its entry was not seen
		r.sp += 0x80
		r.hit.Time += 2
		r.leave(0)
		r.leave(0) // once more
		h = r.result().(*Histogram)
		if h.Count != 3 || h.Sum.Bits != 40+5+7 || h.Lost != 4 {
			r.t.Errorf("unwound: %+v", h)
		}
	})
}

// A goroutine continues in another thread, with its stack moved.
func TestLatencyGo(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Latency(c, Scale{}, Calls{Go: true}) }, func(r *rig) {
		r.write(0x5008, binary.LittleEndian.AppendUint64(nil, 0x9000))
		r.sp = 0x8ff0
		r.enter()
		r.sp = 0x8f00
		r.enter()
		r.hit.Time += 50
		r.hit.PIDTGID++
		r.write(0x5008, binary.LittleEndian.AppendUint64(nil, 0x29000))
		r.sp = 0x28f00
		r.leave(0)
		r.hit.Time += 50
		r.sp = 0x28ff0
		r.leave(0)
		r.hit.Mem = map[uint64]byte{}
		r.enter()
		r.leave(0)
		h := r.result().(*Histogram)
		if h.Count != 2 || h.Sum.Bits != 150 || h.Lost != 0 || h.Faults != 2 {
			r.t.Errorf("%+v", h)
		}
	})
}

func TestRecord(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		h, _, err := Record(c, RecordOptions{Fields: []Field{
			{Expr: parsed(t, "arg0")}, {Name: "path", Expr: parsed(t, "str(arg1)"), Size: 5}, {Expr: parsed(t, "str(arg1)")},
			{Expr: parsed(t, "comm")}, {Expr: parsed(t, "load8(arg2)")}, {Expr: parsed(t, "uint64(arg0)")},
		}})
		return h, err
	}, func(r *rig) {
		minus2 := uint64(1<<64 - 2)
		r.enter(minus2, someText, someText+10)
		r.hit.Time += 1e9 + 1
		r.enter(7, 1, 2) // nothing is readable
		r.golden("record", r.events()...)
		for range 20 {
			r.enter()
		}
		if n := len(r.events()); n != 8 {
			r.t.Errorf("%d records in a ring for 8", n)
		}
		if m := readMisses(r.m); m.Full != 12 || m.Missing() != "not noted: 12 (no room)" {
			r.t.Errorf("misses: %+v %v", m, m)
		}
	})
}

// events decodes what is in the ring.
func (r *rig) events() (list []build.Result) {
	r.t.Helper()
	for _, b := range r.m.Records("records") {
		e, err := r.h.Decode(b)
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func TestRecordBoth(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		h, _, err := Record(c, RecordOptions{At: build.Exit, Fields: []Field{
			{Expr: parsed(t, "int(ret)")}, {Expr: parsed(t, "arg0")}, {Name: "buf", Expr: parsed(t, "str(arg1)")}, {Expr: parsed(t, "load8(arg2)")},
		}})
		return h, err
	}, func(r *rig) {
		r.enter(7, someText, 3)
		r.sp -= 0x40
		r.enter(8, 0x7100, someText+10)
		r.write(0x7100, []byte("was read\x00"))
		r.hit.Time += 1000
		r.leave(1<<32 - 1)
		r.sp += 0x40
		r.hit.Time += 1000
		r.leave(5)
		r.leave(6)
		r.golden("record-both", r.events()...)
	})
}

func TestDecode(t *testing.T) {
	h, l, err := Record(context(t, "amd64"), RecordOptions{Fields: []Field{{Expr: parsed(t, "arg0")}}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Size() != 48 {
		t.Errorf("a record of a number has %d bytes", l.Size())
	}
	for _, b := range [][]byte{nil, make([]byte, 39), make([]byte, 48), bytes.Repeat([]byte{0xff}, 48)} {
		if _, err := h.Decode(b); !errors.Is(err, ErrRecord) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, l, err := Record(context(f, "amd64"), RecordOptions{Fields: []Field{{Expr: parsed(f, "arg0")}, {Expr: parsed(f, "str(arg0)"), Size: 9}, {Expr: parsed(f, "comm")}}})
	if err != nil {
		f.Fatal(err)
	}
	b := make([]byte, l.Size())
	binary.LittleEndian.PutUint32(b[recInfo:], uint32(l.Size()|recVersion<<16|3<<24))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := l.Decode(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if j, err := e.MarshalJSON(); err != nil || !json.Valid(j) {
			t.Fatalf("%s: %v", j, err)
		}
	})
}

func TestStacks(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Stacks(c, build.Entry, 3) }, func(r *rig) {
		for i, s := range [][]uint64{{1, 20, 30}, {1, 20}, {1, 20, 30}, nil, {4, 20, 30}, {5}} {
			r.hit.CPU, r.hit.Stack = i%toy.CPUs, s
			r.enter()
		}
		r.hit.PIDTGID, r.hit.Stack = 99<<32|99, []uint64{1, 20}
		r.enter()
		s := r.result().(*StackCounts)
		s.Name = func(pid uint32, at arch.Addr) string {
			return map[arch.Addr]string{1: "leaf", 19: "a;b", 29: "main"}[at] // callers by their calls
		}
		r.golden("stacks", s)
	})
}

func TestDistinct(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		return Distinct(c, build.Entry, parsed(t, "int(load8(arg0)) - 20"), 3)
	}, func(r *rig) {
		for i, v := range []byte{1, 2, 1, 30, 2, 1, 99} {
			r.hit.CPU = i % toy.CPUs
			r.write(0x100, []byte{v})
			r.enter(0x100)
		}
		r.enter(0)
		r.golden("distinct", r.result())
	})
}

func TestOverride(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) { return Override(c, 1, parsed(t, "load8(arg0) + 1")) }, func(r *rig) {
		r.enter(someText, 7)
		if got := r.reg(r.args[1]); got != 's'+1 {
			r.t.Errorf("argument is %d", got)
		}
		r.enter(1, 7)
		if got := r.reg(r.args[1]); got != 7 {
			r.t.Errorf("argument is %d after a fault", got)
		}
		r.golden("override", r.result())
	})
	each(t, func(c program.Context) (*build.Handler, error) {
		h, err := Override(c, ReturnValue, parsed(t, "-5"))
		if err != nil {
			return nil, err
		}
		return Filter(h, parsed(t, "int(ret) > 0"))
	}, func(r *rig) {
		for v, want := range map[uint64]int64{7: -5, 0: 0, 1<<32 - 1: 1<<32 - 1} {
			r.leave(v)
			if got := r.reg(r.ret); got != uint64(want) {
				r.t.Errorf("result %d became %d", v, got)
			}
		}
	})
}

// counted puts a guard in front of a counter.
func counted(guard func(h *build.Handler) (*build.Handler, error)) func(c program.Context) (*build.Handler, error) {
	return func(c program.Context) (*build.Handler, error) {
		h, err := Count(c, build.Entry)
		if err != nil {
			return nil, err
		}
		return guard(h)
	}
}

// hits expects a number of hits since the start.
func (r *rig) hits(what string, want uint64) {
	r.t.Helper()
	if got := r.result().(Counter).Hits; got != want {
		r.t.Errorf("%s: %d hits, want %d", what, got, want)
	}
}

func TestGuards(t *testing.T) {
	each(t, counted(func(h *build.Handler) (*build.Handler, error) {
		return Filter(h, parsed(t, `arg0 > 4 && str(arg1) =~ "some*"`))
	}), func(r *rig) {
		for _, a := range [][2]uint64{{5, someText}, {4, someText}, {5, 1}, {5, someText + 1}, {6, someText}} {
			r.enter(a[0], a[1])
		}
		r.hits("filter", 2)
	})
	for n, want := range map[uint32]uint64{1: 20, 3: 7, 4: 5, 100: 1} {
		each(t, counted(func(h *build.Handler) (*build.Handler, error) { return Every(h, n) }), func(r *rig) {
			for range 20 {
				r.enter()
			}
			r.hits("every", want)
		})
	}
	each(t, counted(func(h *build.Handler) (*build.Handler, error) { return Rate(h, 3) }), func(r *rig) {
		for range 3 { // seconds: 5 hits each, and one of a thread with a clock that is behind
			for range 5 {
				r.enter()
			}
			r.hit.Time -= 1e9
			r.enter()
			r.hit.Time += 2e9
		}
		r.hits("rate", 9)
	})
	each(t, counted(func(h *build.Handler) (*build.Handler, error) { return Limit(h, 4, 0) }), func(r *rig) {
		for range 9 {
			r.enter()
		}
		r.hits("limit", 4)
		if l := ReadLimit(r.m, r.h.Guards[0]); l != (LimitState{Hits: 4, Done: true}) {
			r.t.Errorf("limit: %+v", l)
		}
	})
	each(t, counted(func(h *build.Handler) (*build.Handler, error) { return Limit(h, 0, time.Second) }), func(r *rig) {
		for range 9 {
			r.enter()
			r.hit.Time += 3e8
		}
		r.hits("life", 4)
		if l := ReadLimit(r.m, r.h.Guards[0]); l != (LimitState{Hits: 4, End: 2 * time.Second}) {
			r.t.Errorf("life: %+v", l)
		}
	})
}

// Several guards in front of two programs do not change the handler.
func TestGuardsOfTwo(t *testing.T) {
	each(t, func(c program.Context) (*build.Handler, error) {
		h, err := Latency(c, Scale{}, Calls{If: parsed(t, "int(ret) < 0")})
		if err != nil {
			return nil, err
		}
		return guarded(t, h)
	}, func(r *rig) {
		kinds := ""
		for _, g := range r.h.Guards {
			kinds += g.Kind + ":" + g.Map + " "
		}
		if kinds != "filter:unread every:every_2 every:every rate:rate limit:limit_3 limit:limit_2 limit:limit " {
			r.t.Errorf("guards %s", kinds)
		}
		for i := range 161 {
			r.enter(5, someText)
			r.hit.Time += 8
			r.leave(uint64(-int64(i % 2)))
		}
		if h := r.result().(*Histogram); h.Count != 0 {
			r.t.Errorf("%+v", h)
		}
		r.hit.Comm = [16]byte{'r', 'e', 'd', 'i', 's'}
		r.hit.PIDTGID = 5<<32 | 5
		for i := range 161 * 2 { // of those every 16th, of those every 10th
			r.enter(0, someText)
			r.hit.Time += 8
			r.leave(uint64(-int64(i % 2)))
		}
		// Those at i = 0, 160 and 320 pass the entry, and return 0.
		if h := r.result().(*Histogram); h.Count != 0 || h.Lost != 0 {
			r.t.Errorf("%+v", h)
		}
		r.hit.Time += 1e9
		for range 160 { // one passes
			r.enter(0, someText)
			r.hit.Time += 8
			r.leave(1<<64 - 1)
		}
		if h := r.result().(*Histogram); h.Count != 1 || h.Sum.Bits != 8 || h.Lost != 0 {
			r.t.Errorf("%+v", h)
		}
	})
}

func TestRefused(t *testing.T) {
	c := context(t, "amd64")
	hist := func(at build.Point, e string) error { _, err := Hist(c, at, parsed(t, e), Scale{}); return err }
	rec := func(o RecordOptions) error { _, _, err := Record(c, o); return err }
	h, err := Count(c, build.Exit)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64, d time.Duration) error { _, err := Limit(h, n, d); return err }
	linear := func(lo, hi int64, step uint64) error { _, err := Linear(lo, hi, step); return err }
	latency := func(k Calls) error { _, err := Latency(c, Scale{}, k); return err }
	both, err := Latency(c, Scale{}, Calls{})
	if err != nil {
		t.Fatal(err)
	}
	_, ofBoth := Filter(both, parsed(t, "ret == 1"))
	filter := func(e string) error { _, err := Filter(h, parsed(t, e)); return err }
	field := Field{Expr: parsed(t, "ret + arg0")}
	for i, c := range []struct {
		err  error
		want string
	}{
		{hist(build.Entry, "ret"), "ret: at the function's entry there is no result yet"},
		{hist(build.Exit, "arg0 + 1"), "arg0 + 1: at the function's exit its arguments are gone"},
		{hist(build.Entry, "arg6"), "arg6: not known: it is in no register, C has 6 on amd64"},
		{rec(RecordOptions{At: build.Exit, Fields: []Field{field}}), "a field has arguments or the return value, not both"},
		{rec(RecordOptions{Fields: []Field{field}}), "there is no result yet"},
		{rec(RecordOptions{Ring: 5000}), "a ring of 5000 bytes"},
		{rec(RecordOptions{Fields: []Field{{Expr: parsed(t, "str(arg0)"), Size: 1 << 20}}}), "room for 1048576 bytes"},
		{rec(RecordOptions{Fields: make([]Field, 33)}), "no more than 32 fields"},
		{limit(0, 0), "a limit of 0 hits and 0s"},
		{linear(5, 5, 1), "has no buckets"},
		{linear(0, 1<<40, 1), "more than 4000 buckets"},
		{latency(Calls{Depth: 3}), "depth 3 is not a power of 2"},
		{latency(Calls{Threads: -1}), "-1 threads"},
		{ofBoth, "latency begins at the entry"},
		{latency(Calls{If: parsed(t, "arg0 == 1")}), "its arguments are gone"},
		{filter("arg0 == 1"), "its arguments are gone"},
		{filter("1 == 2"), "the condition 1 == 2 never holds"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%d: %v, want %s", i, c.err, c.want)
		}
	}
}
