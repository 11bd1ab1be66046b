package build

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/toy"
)

func context(t *testing.T, arch string) program.Context {
	t.Helper()
	c, err := program.ContextOf(arch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// must finishes a program.
func must(t *testing.T, b *Builder) *program.Program {
	t.Helper()
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs a program with registers.
func run(t *testing.T, p *program.Program, m *toy.Machine, regs *arch.Regs) (r0 uint64) {
	t.Helper()
	var ctx []byte
	if regs != nil {
		for _, r := range regs {
			ctx = binary.LittleEndian.AppendUint64(ctx, r)
		}
	}
	if m == nil {
		m = toy.New(p.Maps)
	}
	r0, _, err := m.Run(p, &toy.Hit{Ctx: ctx, Time: 7, PIDTGID: 12<<32 | 13})
	if err != nil {
		t.Fatal(err)
	}
	return r0
}

// The layouts agree with the instruction sets.
func TestLayout(t *testing.T) {
	for _, isa := range []arch.ISA{amd64.ISA, arm64.ISA} {
		ctx := context(t, isa.Name())
		regs := &arch.Regs{}
		for i := range regs {
			regs[i] = uint64(1000 + i)
		}
		value := func(load func(b *Builder)) uint64 {
			b := New("x", ctx)
			load(b)
			b.Add(asm.Return())
			return run(t, must(t, b), nil, regs)
		}
		same := func(what string, got, want uint64) {
			if got != want {
				t.Errorf("%s: %s is word %d, should be %d", isa.Name(), what, got-1000, want-1000)
			}
		}
		for _, c := range arch.Conventions {
			ctx.Calls = c
			n := 0
			for want, ok := isa.Arg(c, regs, n); ok; want, ok = isa.Arg(c, regs, n) {
				same(c.String()+"'s argument", value(func(b *Builder) { b.Arg(R0, n) }), want)
				if c == arch.GoRegisters {
					same("Go's result", value(func(b *Builder) { b.Result(R0, n) }), want)
				}
				n++
			}
			b := New("x", ctx)
			if b.Arg(R0, n); !errors.Is(b.Err(), ErrNotKnown) {
				t.Errorf("%s: argument %d of %v exists", isa.Name(), n, c)
			}
		}
		for _, c := range []arch.Convention{arch.GoStack, arch.NotKnown} {
			ctx.Calls = c
			b := New("x", ctx)
			if b.Ret(R0); !errors.Is(b.Err(), ErrNotKnown) {
				t.Errorf("%s: the result of %v is in a register", isa.Name(), c)
			}
		}
		ctx.Calls = arch.C
		same("result", value(func(b *Builder) { b.Ret(R0) }), isa.Result(regs))
		same("sp", value(func(b *Builder) { b.SP(R0) }), regs[isa.SPReg()])
		same("pc", value(func(b *Builder) { b.PC(R0) }), regs[isa.PCReg()])
		goroutine := map[string]string{"amd64": "r14", "arm64": "x28"}[isa.Name()]
		for i, name := range isa.RegNames()[:ctx.Size/8] {
			same(name, value(func(b *Builder) { b.Register(R0, name) }), regs[i])
			if name == goroutine {
				same("goroutine", value(func(b *Builder) { b.Goroutine(R0) }), regs[i])
			}
		}
	}
}

func TestFlow(t *testing.T) {
	ctx := context(t, "amd64")
	for _, c := range []struct {
		cond Cond
		v    int64
		want uint64
	}{
		{Gt(R1, 5), 6, 1}, {Gt(R1, 5), 5, 2}, {SLt(R1, 0), -1, 1}, {Lt(R1, 5), -1, 2}, {Bits(R1, 6), 4, 1}, {Bits(R1, 6), 9, 2},
		{Eq(R1, 1<<40), 1 << 40, 1}, {Ne(R1, 1<<40), 1 << 40, 2}, {Eq(R5, 1<<40), 1 << 40, 1}, {Eq(R1, 0).With(R2), 3, 1}, {Le(R1, 3), 3, 1},
	} {
		b := New("flow", ctx)
		b.Const(c.cond.Reg, c.v)
		b.Const(R2, 3)
		b.IfElse(c.cond, func() { b.Return(1) }, func() { b.Return(2) })
		if got := run(t, must(t, b), nil, nil); got != c.want {
			t.Errorf("%+v of %d: %d, want %d", c.cond, c.v, got, c.want)
		}
		b = New("flow", ctx)
		b.Const(c.cond.Reg, c.v)
		b.Const(R2, 3)
		b.Const(R0, 2)
		b.If(c.cond, func() { b.Const(R0, 1) })
		b.Add(asm.Return())
		if got := run(t, must(t, b), nil, nil); got != c.want {
			t.Errorf("if %+v of %d: %d, want %d", c.cond, c.v, got, c.want)
		}
	}
}

func TestStack(t *testing.T) {
	b := New("stack", context(t, "amd64"))
	a, c := b.Slot(8), b.Slot(20)
	if a.Off != -8 || c.Off != -32 || c.Add(8).Off != -24 || c.Add(8).Size != 12 {
		t.Errorf("slots at %d and %d", a.Off, c.Off)
	}
	b.Release(a)
	if d := b.Slot(4); d.Off != -8 {
		t.Errorf("a released slot is not used again: %d", d.Off)
	}
	b.Release(c)
	if d := b.Slot(24); d.Off != -32 {
		t.Errorf("a released slot of 3 words is not used again: %d", d.Off)
	}
	if b.Slot(480); b.Err() != nil {
		t.Error(b.Err())
	}
	if b.Slot(1); b.Err() == nil {
		t.Error("513 bytes of stack")
	}
}

func TestMapsAndAtomics(t *testing.T) {
	b := New("maps", context(t, "arm64"))
	small := b.Map(program.Map{Name: "small", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 2})
	large := b.Map(program.Map{Name: "large", Type: program.Hash, KeySize: 8, ValueSize: 100, MaxEntries: 2})
	key, full := b.Slot(8), b.NewLabel()
	b.Arg(R0, 0)
	b.Store(key, R0)
	for _, m := range []Map{small, large} {
		b.LookupOrInit(m, key, full)
		b.Inc(At(R0, 0))
	}
	p := b.Var()
	b.Move(p, R0)
	b.Arg(R1, 1)
	b.Max(At(p, 8), R1)
	b.Stop()
	b.Here(full)
	b.Return(7)
	prog := must(t, b)
	m := toy.New(prog.Maps)
	for i, want := range []uint64{0, 0, 0, 7, 0} {
		regs := &arch.Regs{uint64([]int{1, 2, 1, 3, 2}[i]), uint64([]int{5, 9, 4, 99, 10}[i])}
		if got := run(t, prog, m, regs); got != want {
			t.Errorf("run %d: %d, want %d", i, got, want)
		}
	}
	want := map[string][2]uint64{"small 1": {2}, "small 2": {2}, "large 1": {2, 5}, "large 2": {2, 10}}
	for _, name := range []string{"small", "large"} {
		for k, v := range m.Entries(name) {
			id := name + " " + string('0'+k[0])
			if n := binary.LittleEndian.Uint64(v[0]); n != want[id][0] {
				t.Errorf("%s: %d, want %d", id, n, want[id][0])
			}
			if name == "large" && binary.LittleEndian.Uint64(v[0][8:]) != want[id][1] {
				t.Errorf("%s: largest %d, want %d", id, v[0][8], want[id][1])
			}
		}
	}
}

// The copy of the context is removed if it is not needed.
func TestDropContext(t *testing.T) {
	b := New("x", context(t, "amd64"))
	b.Return(3)
	if p := must(t, b); len(p.Insns) != 2 || run(t, p, nil, nil) != 3 {
		t.Errorf("%d instructions instead of 2", len(p.Insns))
	}
}

func TestBefore(t *testing.T) {
	ctx := context(t, "amd64")
	// A program with a function, a map, and a jump back to its start.
	b := New("inner", ctx)
	n := b.Map(program.Map{Name: "n", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	b.Arg(R7ForTest, 0)
	b.Index(n, 0)
	b.AddTo(At(R0, 0), R7ForTest)
	b.Return(5)
	inner := must(t, b)

	guard := func(b *Builder) {
		m := b.Map(program.Map{Name: "n", Type: program.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
		b.Index(m, 0)
		b.Inc(At(R0, 8))
		b.Arg(R1, 1)
		yes := b.NewLabel()
		b.JumpIf(Ne(R1, 0), yes)
		b.Stop()
		b.Here(yes)
	}
	once, err := Before(inner, ctx, guard)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Before(once, ctx, guard)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Validate(p); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, m := range p.Maps {
		names = append(names, m.Name)
	}
	if got := strings.Join(names, " "); got != "n n_2 n_3" {
		t.Errorf("maps %s", got)
	}
	if len(inner.Maps) != 1 || len(inner.Funcs) != 1 {
		t.Error("the inner program was changed")
	}
	m := toy.New(p.Maps)
	for i, arg1 := range []uint64{0, 1, 0, 1} {
		regs := &arch.Regs{}
		regs[14], regs[13] = 10, arg1
		if got := run(t, p, m, regs); got != 5*arg1 {
			t.Errorf("run %d: %d", i, got)
		}
	}
	want := map[string]uint64{"n": 20, "n_2": 2, "n_3": 4}
	for name, off := range map[string]int{"n": 0, "n_2": 8, "n_3": 8} {
		for _, v := range m.Entries(name) {
			if got := binary.LittleEndian.Uint64(v[0][off:]); got != want[name] {
				t.Errorf("%s: %d, want %d", name, got, want[name])
			}
		}
	}
}

// R7ForTest returns a register that Var would return.
const R7ForTest = asm.R7

func TestMistakes(t *testing.T) {
	ctx := context(t, "amd64")
	spec := program.Map{Name: "m", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}
	for want, make := range map[string]func(b *Builder){
		"no register is free": func(b *Builder) { b.Var(); b.Var(); b.Var(); b.Var() },
		"arg6: not known: it is in no register, C has 6 on amd64": func(b *Builder) { b.SetArg(6, R0) },
		`amd64 has no register "x0"`:                              func(b *Builder) { b.Register(R0, "x0") },
		`two maps are called "m"`:                                 func(b *Builder) { b.Map(spec); b.Map(spec) },
		"map m has no entry 1":                                    func(b *Builder) { b.Index(b.Map(spec), 1) },
		"no helper has number 9999":                               func(b *Builder) { b.Call(9999) },
		"label .1 is nowhere":                                     func(b *Builder) { b.Jump(b.NewLabel()) },
		"label .1 is put twice":                                   func(b *Builder) { l := b.NewLabel(); b.Here(l); b.Here(l) },
		"no 600 bytes of stack are left":                          func(b *Builder) { b.Slot(600) },
		"handler: first":                                          func(b *Builder) { b.Fail("first"); b.Fail("second") },
		"invalid opcode":                                          func(b *Builder) { b.Add(asm.Instruction{OpCode: asm.InvalidOpCode}) },
	} {
		b := New("handler", ctx)
		make(b)
		_, err := b.Program()
		if !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q instead of %q", err, want)
		}
	}
	if _, err := New("x", program.Context{Arch: "mips"}).Program(); !errors.Is(err, ErrBuild) {
		t.Errorf("mips: %v", err)
	}
}
