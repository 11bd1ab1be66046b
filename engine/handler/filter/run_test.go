package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/internal/toy"
)

// hit is a made-up hit, for Eval and for programs.
type hit struct {
	toy.Hit
	isa   arch.ISA
	regs  arch.Regs
	calls arch.Convention
}

func (h *hit) Ret(word int) uint64 {
	if word == 0 {
		return h.isa.Result(&h.regs)
	}
	v, _ := h.isa.Arg(arch.GoRegisters, &h.regs, word)
	return v
}

func (h *hit) Arg(i int) (uint64, bool) { return h.isa.Arg(h.calls, &h.regs, i) }
func (h *hit) PIDTGID() uint64          { return h.Hit.PIDTGID }
func (h *hit) UIDGID() uint64           { return h.Hit.UIDGID }
func (h *hit) CPU() int                 { return h.Hit.CPU }
func (h *hit) Time() uint64             { return h.Hit.Time }
func (h *hit) Cookie() uint64           { return h.Hit.Cookie }
func (h *hit) FuncIP() uint64           { return h.Hit.FuncIP }
func (h *hit) Comm() [16]byte           { return h.Hit.Comm }

func (h *hit) Register(name string) (uint64, bool) {
	for i, n := range h.isa.RegNames() {
		if n == name {
			return h.regs[i], true
		}
	}
	return 0, false
}

func (h *hit) Read(at arch.Addr, b []byte) error {
	for i := range b {
		c, ok := h.Mem[uint64(at)+uint64(i)]
		if !ok {
			return fmt.Errorf("nothing at %v", at)
		}
		b[i] = c
	}
	return nil
}

const text = 0x7000 // where a string is in a hit's memory

func newHit(isa arch.ISA, regs ...uint64) *hit {
	h := &hit{isa: isa, Hit: toy.Hit{
		Time: 1e9, PIDTGID: 12<<32 | 13, UIDGID: 1000<<32 | 1001, CPU: 3, Cookie: 99, FuncIP: 0x401000,
		Mem: map[uint64]byte{},
	}}
	copy(h.Hit.Comm[:], "redis-server")
	for i, c := range []byte("foobar\x00\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8") {
		h.Mem[text+uint64(i)] = c
	}
	for i, v := range regs {
		h.set(i, v)
	}
	return h
}

// set makes argument i, or with -1 the result, v.
func (h *hit) set(i int, v uint64) {
	for w := range h.regs {
		was := h.regs[w]
		h.regs[w] = ^v
		if got, _ := h.Arg(i); i >= 0 && got == ^v || i < 0 && h.Ret(0) == ^v {
			h.regs[w] = v
			return
		}
		h.regs[w] = was
	}
}

// context is what a program is given.
func (h *hit) context(t testing.TB) program.Context {
	c, err := program.ContextOf(h.isa.Name())
	if err != nil {
		t.Fatal(err)
	}
	h.Ctx = nil
	for _, r := range h.regs {
		h.Ctx = binary.LittleEndian.AppendUint64(h.Ctx, r)
	}
	h.Ctx = h.Ctx[:c.Size]
	return c
}

// run compiles an expression and runs it.
func (h *hit) run(t testing.TB, e *Expr) uint64 {
	t.Helper()
	p, err := e.Compile("filter", h.context(t))
	if err != nil {
		t.Fatalf("%v: %v", e, err)
	}
	if err := program.Validate(p); err != nil {
		t.Fatalf("%v: %v", e, err)
	}
	got, _, err := toy.New(p.Maps).Run(p, &h.Hit)
	if err != nil {
		t.Fatalf("%v: %v", e, err)
	}
	return got
}

var isas = []arch.ISA{amd64.ISA, arm64.ISA}

// minus is -n as a register holds it.
func minus(n uint64) uint64 { return -n }

func TestRun(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
	}{
		{"arg0", 5000},
		{"arg5", minus(6)},
		{"arg0 > 4096 && arg1 == 2", 1},
		{"arg0 > 4096 && arg1 == 3", 0},
		{"arg0 > 5000 || arg1 == 2", 1},
		{"arg2 < 0", 1},
		{"arg2 < 0u", 0},
		{"uint64(arg2) > 1", 1},
		{"int(arg4) < 0", 1},
		{"arg4 < 0", 0},
		{"!(arg0 & 7)", 1},
		{"arg0 & 7 == 0", 1},
		{"arg0 / 7 * 7 + arg0 % 7 == arg0", 1},
		{"arg2 / 2", minus(1)},
		{"uint64(arg2) / 2", 1<<63 - 2},
		{"arg2 % 2", minus(1)},
		{"arg2 >> 1", minus(2)},
		{"uint64(arg2) >> 63", 1},
		{"arg1 << 65", 4},
		{"arg0 / (arg1 - 2)", 0},
		{"arg0 % (arg1 - 2)", 5000},
		{"arg0 % 0", 5000},
		{"1 << arg1", 4},
		{"-arg1", minus(2)},
		{"~arg1", minus(3)},
		{"arg0 &^ 8", 4992},
		{"arg0 &^ arg1", 5000},
		{"(arg0 > 1) + (arg1 > 1)", 2},
		{"((arg0+arg1)*(arg1+arg0)) - ((arg0-arg1)*(arg0-arg1)) == 4*arg0*arg1", 1},
		{"arg0 == 0x123456789a || arg1 == 2", 1},
		{"arg0 > 0xffffffff", 0},
		{"pid == 12 && tid == 13 && uid == 1001 && gid == 1000 && cpu == 3", 1},
		{"time == 1000000000 && cookie == 99 && ip == 0x401000", 1},
		{"pid + arg0 * tid", 12 + 5000*13},
		{"(tid - arg0) * (pid - arg1)", minus(4987 * 10)},
		{`str(arg3) == "foobar"`, 1},
		{`str(arg3) == "foobarx"`, 0},
		{`str(arg3) == "fooba"`, 0},
		{`str(arg3) != "foobar"`, 0},
		{`str(arg3) =~ "foo*"`, 1},
		{`str(arg3) =~ "foobar*"`, 1},
		{`str(arg3) =~ "foobarx*"`, 0},
		{`str(arg3) =~ "*"`, 1},
		{`str(arg3) == ""`, 0},
		{`str(arg3+6) == ""`, 1},
		{`str(arg3) !~ "bar*"`, 1},
		{`str(arg0) == "foobar"`, 0},
		{`!(str(arg0) == "foobar")`, 0},
		{`arg1 == 2 || str(arg0) == "foobar"`, 1},
		{`comm == "redis-server"`, 1},
		{`comm == "redis"`, 0},
		{`comm =~ "redis*"`, 1},
		{`comm !~ "redis*" || comm =~ "x*"`, 0},
		{`comm == "redis-server" && str(arg3) =~ "f*" && arg1 == 2`, 1},
		{"load8(arg3)", 'f'},
		{"load16(arg3)", 'o'<<8 | 'f'},
		{"load32(arg3+7)", 0xfcfdfeff},
		{"load64(arg3+7) > 0", 1},
		{"load32(arg3+7) + load8(arg3)*(arg1 + load8(arg3+1))", 0xfcfdfeff + 'f'*(2+'o')},
		{"load64(arg3+8)", 0},
		{"int8(load8(arg3+7))", minus(1)},
		{"uint16(arg2)", 0xfffd},
		{"uint8(arg2)", 0xfd},
		{"uint32(arg2)", 0xfffffffd},
		{"int16(arg0 << 3)", minus(25536)},
	} {
		for _, isa := range isas {
			h := newHit(isa, 5000, 2, minus(3), text, 0xffffffff, minus(6))
			for _, raw := range []bool{false, true} {
				e, err := Parse(c.in, Options{Raw: raw})
				if err != nil {
					t.Fatal(err)
				}
				if got := h.run(t, e); got != c.want {
					t.Errorf("%s: %s: %d, want %d", isa.Name(), c.in, int64(got), int64(c.want))
				}
				if got, err := e.Eval(h); got != c.want && err == nil {
					t.Errorf("%s: %s: evaluated to %d, want %d", isa.Name(), c.in, int64(got), int64(c.want))
				}
			}
		}
	}
}

func TestRegisters(t *testing.T) {
	for i, regs := range [][2]string{{"rbx", "r12"}, {"x19", "x28"}} {
		h := newHit(isas[i])
		for w, n := range h.isa.RegNames() {
			h.regs[w] = uint64(len(n)*1000 + w)
		}
		for _, r := range regs {
			e, err := Parse("$"+r, Options{})
			if err != nil {
				t.Fatal(err)
			}
			want, _ := h.Register(r)
			if got := h.run(t, e); got != want || want == 0 {
				t.Errorf("$%s: %d, want %d", r, got, want)
			}
		}
		e, err := Parse("$nope", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Compile("x", h.context(t)); err == nil {
			t.Error("$nope compiles")
		}
	}
	h := newHit(amd64.ISA)
	e, err := Parse("ret + arg6", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Compile("x", h.context(t)); err == nil {
		t.Error("arg6 compiles on amd64")
	}
}

// A simple condition costs no more than it must.
func TestCode(t *testing.T) {
	for in, most := range map[string]int{
		"arg0 > 4096 && arg1 == 2": 10, // two loads, two jumps, a copy of the context, results, exit
		"arg0":                     4,
		`comm == "redis"`:          16,
	} {
		e, err := Parse(in, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Compile("x", newHit(amd64.ISA).context(t))
		if err != nil || len(p.Insns) > most {
			t.Errorf("%s: %d instructions, %d are enough (%v)", in, len(p.Insns), most, err)
		}
	}
}

// random writes an expression.
func random(r *rand.Rand, depth int) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	if depth == 0 {
		return pick("arg0", "arg1", "arg2", "arg3", "ret", "pid", "tid", "cpu", "0", "1", "7", "255",
			"0x7fffffff", "0x80000000", "3u", "0xffffffffffffffff", "0x123456789abcdef", "load8(arg3)", "load32(arg3)", "load16(arg1)")
	}
	sub := func() string { return random(r, r.IntN(depth)) }
	switch r.IntN(8) {
	case 0:
		return pick("!", "-", "~") + "(" + sub() + ")"
	case 1:
		return pick("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64") + "(" + sub() + ")"
	case 2:
		return pick(`(comm == "redis-server")`, `(comm =~ "x*")`, `(str(arg3) =~ "foo*")`, `(str(arg3) != "foobar")`, `(str(arg1) == "x")`)
	case 3:
		return "(" + sub() + pick(" && ", " || ") + sub() + ")"
	case 4:
		return "(" + sub() + pick(" == ", " != ", " < ", " <= ", " > ", " >= ") + sub() + ")"
	}
	return "(" + sub() + pick(" + ", " - ", " * ", " / ", " % ", " & ", " &^ ", " | ", " ^ ", " << ", " >> ") + sub() + ")"
}

// values that things go wrong at.
var values = []uint64{0, 1, 2, 7, 63, 64, 255, 1 << 31, 1<<31 - 1, 1 << 32, 1 << 63, 1<<63 - 1, minus(1), minus(2), text}

func randomHit(r *rand.Rand, isa arch.ISA) *hit {
	v := func() uint64 { return values[r.IntN(len(values))] }
	h := newHit(isa, v(), v(), v(), text)
	if isa == amd64.ISA {
		h.set(-1, v())
	}
	return h
}

// Compiled code and Eval agree, on both instruction sets.
func TestDifferential(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		agree(t, r, random(r, 5))
	}
}

func agree(t *testing.T, r *rand.Rand, text string) {
	t.Helper()
	for _, raw := range []bool{false, true} {
		e, err := Parse(text, Options{Raw: raw})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, isa := range isas {
			h := randomHit(r, isa)
			want, err := e.Eval(h)
			if err != nil {
				want = 0
			}
			if got := h.run(t, e); got != want {
				t.Fatalf("%s: %s\n%v\ngives %d, evaluated %d (%v)", isa.Name(), text, e, got, want, err)
			}
		}
	}
	agreeInGo(t, r, text)
}

// agreeInGo is agree for functions of Go's.
func agreeInGo(t *testing.T, r *rand.Rand, text string) {
	t.Helper()
	for _, isa := range isas {
		for _, calls := range []arch.Convention{arch.GoRegisters, arch.GoStack} {
			h := newHit(isa)
			h.calls = calls
			ctx := h.context(t)
			ctx.Calls = calls
			e, err := Parse(text, Options{Context: ctx})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if e.UsesRet() {
				continue
			}
			for range 3 {
				v := func() uint64 { return values[r.IntN(len(values))] }
				h.words(v(), v(), v(), v(), v())
				h.context(t)
				want, err := e.Eval(h)
				if err != nil {
					want = 0
				}
				p, err2 := e.Compile("filter", ctx)
				if err2 != nil {
					t.Fatalf("%v: %v", e, err2)
				}
				if got, _, err2 := toy.New(p.Maps).Run(p, &h.Hit); got != want || err2 != nil {
					t.Fatalf("%s, %v: %s\n%v\ngives %d, %v, evaluated %d (%v)", isa.Name(), calls, text, e, got, err2, want, err)
				}
			}
		}
	}
}

func FuzzDifferential(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		agree(t, r, random(r, 7))
	})
}

// own is memory that the kernel reads; a variable of the package does not move.
var own = [...]byte{'f', 'o', 'o', 'b', 'a', 'r', 0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8}

// The kernel agrees, too.
func TestKernel(t *testing.T) {
	if err := kernel.Available(); err != nil {
		skip.Missing(t, err.Error())
	}
	isa := isas[0]
	if runtime.GOARCH == "arm64" {
		isa = isas[1]
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		text := random(r, 5)
		e, err := Parse(text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if e.root.any(func(n *node) bool { return n.kind >= kPID && n.kind <= kIP || n.kind == kComm }) {
			continue // in the kernel these are real, not the random hit's
		}
		h := randomHit(r, isa)
		at := uint64(uintptr(unsafe.Pointer(&own[0])))
		h.set(3, at)
		for i, c := range own {
			h.Mem[at+uint64(i)] = c
		}
		want, err := e.Eval(h)
		if err != nil {
			want = 0
		}
		p, err := e.Compile("filter", h.context(t))
		if err != nil {
			t.Fatal(err)
		}
		got, log, err := kernel.TestRun(p, h.Ctx)
		if err != nil {
			t.Fatalf("%s: %v\n%s", text, err, log)
		}
		if got != want {
			t.Fatalf("%s: the kernel gives %d, evaluated %d", text, got, want)
		}
	}
}

// inGo makes a hit of a function of Go's: its arguments are 7, a string, -3 and others, in
// registers or on the stack, and so are its results.
func inGo(isa arch.ISA, c arch.Convention) *hit {
	h := newHit(isa)
	h.calls = c
	h.words(7, text, 6, minus(3), 5, 6, 7, 8, 9)
	return h
}

// words makes the first arguments these, as the hit's convention has them.
func (h *hit) words(words ...uint64) {
	const sp = 0x9000
	isa, c := h.isa, h.calls
	h.regs[isa.SPReg()] = sp
	for i, v := range words {
		if word, ok := isa.ArgReg(c, i); ok {
			h.regs[word] = v
			continue
		}
		for b := range 8 {
			h.Mem[sp+uint64(arch.StackArg(i))+uint64(b)] = byte(v >> (8 * b))
		}
	}
}

// TestRunGo: of Go's functions the words are where Go has them, and strings have a length.
func TestRunGo(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
	}{
		{"arg0", 7}, {"arg3", minus(3)}, {"arg3 < 0", 1}, {"arg8", 9}, {"arg0 + arg2 * (arg4 + arg5)", 7 + 6*11},
		{"(arg0 - arg2) * (arg4 - arg5)", minus(1)}, {"arg0 + (arg2 + (arg4 + (arg5 + (arg6 + arg7))))", 39},
		{`str(arg1) == "foobar"`, 1}, {`str(arg1) == "fooba"`, 0}, {`str(arg1) == "foobarx"`, 0}, {`str(arg1) != "foobaz"`, 1},
		{`str(arg1) =~ "foo*"`, 1}, {`str(arg1) =~ "foobar*"`, 1}, {`str(arg1) =~ "foobarx*"`, 0}, {`str(arg1) =~ "*"`, 1}, {`str(arg1) == ""`, 0},
		{`str(arg0) == "toolong"`, 0}, // arg1 is no length of 7: nothing is read
		{`str(arg0) =~ "x*"`, 0},      // nothing is there
		{`str(arg1 + 3) == "bar"`, 1}, // an address alone: up to a 0
		{`str(arg1) == "foobar" && arg0 == 7 && load8(arg1) == 'f'`, 1},
	} {
		for _, isa := range isas {
			for _, calls := range []arch.Convention{arch.GoRegisters, arch.GoStack} {
				h := inGo(isa, calls)
				ctx := h.context(t)
				ctx.Calls = calls
				e, err := Parse(c.in, Options{Context: ctx})
				if err != nil {
					t.Fatal(err)
				}
				p, err := e.Compile("filter", ctx)
				if err != nil {
					t.Fatalf("%s: %v", c.in, err)
				}
				got, _, err := toy.New(p.Maps).Run(p, &h.Hit)
				if err != nil {
					t.Fatalf("%s: %v", c.in, err)
				}
				eval, err := e.Eval(h)
				if err != nil {
					eval = 0
				}
				if got != c.want || eval != c.want {
					t.Errorf("%s, %v, %s: the program says %d, Eval %d; want %d", isa.Name(), calls, c.in, got, eval, c.want)
				}
				if !e.UsesArgs() || e.UsesRet() {
					t.Errorf("%s, %v, %s: it uses no arguments", isa.Name(), calls, c.in)
				}
			}
		}
	}
}

// TestRunGoResult: a string that is returned is two words.
func TestRunGoResult(t *testing.T) {
	for _, isa := range isas {
		h := newHit(isa)
		ctx := h.context(t)
		ctx.Calls = arch.GoRegisters
		for i, v := range []uint64{text, 3} {
			word, _ := isa.ArgReg(arch.GoRegisters, i)
			h.regs[word] = v
		}
		h.context(t)
		e, err := Parse(`str(ret) == "foo"`, Options{Context: ctx})
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Compile("filter", ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := toy.New(p.Maps).Run(p, &h.Hit)
		eval, err2 := e.Eval(h)
		if got != 1 || eval != 1 || err != nil || err2 != nil || e.UsesArgs() || !e.UsesRet() {
			t.Errorf("%s: %d, %d, %v, %v", isa.Name(), got, eval, err, err2)
		}
		for _, c := range []arch.Convention{arch.GoStack, arch.NotKnown} {
			ctx.Calls = c
			e, err := Parse("ret", Options{Context: ctx})
			if err == nil {
				_, err = e.Compile("filter", ctx)
			}
			if !errors.Is(err, build.ErrNotKnown) {
				t.Errorf("%s, %v: %v", isa.Name(), c, err)
			}
		}
	}
}
