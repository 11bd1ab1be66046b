package interp

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/skip"
)

type insns = []program.Insn

// Instructions, named after their parts.
func alu64(op, src uint8, dst, reg uint8, off int16, imm int32) program.Insn {
	return program.Insn{Op: program.ClassAlu64 | op | src, Dst: dst, Src: reg, Off: off, Imm: imm}
}

func alu32(op, src uint8, dst, reg uint8, off int16, imm int32) program.Insn {
	return program.Insn{Op: program.ClassAlu | op | src, Dst: dst, Src: reg, Off: off, Imm: imm}
}

func mov(dst, src uint8) program.Insn {
	return alu64(program.AluMov, program.SrcX, dst, src, 0, 0)
}

func set(dst uint8, v int32) program.Insn {
	return alu64(program.AluMov, program.SrcK, dst, 0, 0, v)
}

func ldx(size, mode, dst, src uint8, off int16) program.Insn {
	return program.Insn{Op: program.ClassLdx | size | mode, Dst: dst, Src: src, Off: off}
}

func stx(size, mode, dst, src uint8, off int16, imm int32) program.Insn {
	return program.Insn{Op: program.ClassStx | size | mode, Dst: dst, Src: src, Off: off, Imm: imm}
}

var exit = program.Insn{Op: program.ClassJmp | program.JmpExit}

// operands loads the first two words of the context into R2 and R3.
var operands = insns{
	ldx(program.SizeDW, program.ModeMem, 2, 1, 0),
	ldx(program.SizeDW, program.ModeMem, 3, 1, 8),
}

func prog(code ...program.Insn) *program.Program {
	return &program.Program{Name: "test", Insns: code, Funcs: []program.Func{{Name: "test"}}}
}

// both runs a program here and in the kernel.
type both struct {
	code *Code
	test *kernel.TestProgram
	m    Machine
	env  fake
}

func newBoth(t testing.TB, p *program.Program) *both {
	t.Helper()
	if err := kernel.Available(); err != nil {
		skip.Missing(t, "eBPF in the kernel")
	}
	ctx, err := program.ContextOf("amd64")
	if err != nil {
		t.Fatal(err)
	}
	test, err := kernel.LoadTest(p)
	if err != nil {
		t.Fatalf("%v\n%v", err, p.Insns)
	}
	code, err := New(&verify.Result{Program: p, Context: ctx, Steps: 1 << 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { test.Close() })
	return &both{code: code, test: test}
}

// agree compares the results for two operands.
func (b *both) agree(t testing.TB, x, y uint64) {
	t.Helper()
	b.env.regs = arch.Regs{x, y}
	var ctx [16]byte
	for i := range 8 {
		ctx[i], ctx[8+i] = byte(x>>(8*i)), byte(y>>(8*i))
	}
	got, err := b.m.Run(b.code, &b.env)
	want, err2 := b.test.Run(ctx[:])
	if err != nil || err2 != nil || got != want {
		text := ""
		for _, in := range b.code.insns {
			text += "\n\t" + in.String()
		}
		t.Fatalf("%#x, %#x: %#x, the kernel %#x; %v, %v%s", x, y, got, want, err, err2, text)
	}
}

var edges = []uint64{0, 1, 2, 7, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x8000, 0xffff, math.MaxInt32, 1 << 31, math.MaxUint32,
	1 << 32, math.MaxInt64, 1 << 63, math.MaxUint64, 0x123456789abcdef0}

func (b *both) allEdges(t testing.TB) {
	t.Helper()
	for _, x := range edges {
		for _, y := range edges {
			b.agree(t, x, y)
		}
	}
}

// TestALU compares each operation, in all its forms, with the kernel.
func TestALU(t *testing.T) {
	ops := []struct {
		op   uint8
		offs []int16
	}{
		{program.AluAdd, nil}, {program.AluSub, nil}, {program.AluMul, nil}, {program.AluDiv, []int16{0, 1}},
		{program.AluOr, nil}, {program.AluAnd, nil}, {program.AluLsh, nil}, {program.AluRsh, nil},
		{program.AluMod, []int16{0, 1}}, {program.AluXor, nil}, {program.AluArsh, nil}, {program.AluMov, []int16{0, 8, 16}},
	}
	for _, o := range ops {
		if o.offs == nil {
			o.offs = []int16{0}
		}
		for _, off := range o.offs {
			for _, make := range []func(uint8, uint8, uint8, uint8, int16, int32) program.Insn{alu64, alu32} {
				code := append(operands[:2:2], make(o.op, program.SrcX, 2, 3, off, 0), mov(0, 2), exit)
				newBoth(t, prog(code...)).allEdges(t)
				for _, imm := range []int32{1, 7, 31, -1, math.MinInt32, math.MaxInt32} {
					shift := o.op == program.AluLsh || o.op == program.AluRsh || o.op == program.AluArsh
					if shift && uint32(imm) > 31 || o.op == program.AluMov && off != 0 {
						continue // refused
					}
					code := append(operands[:2:2], make(o.op, program.SrcK, 2, 0, off, imm), mov(0, 2), exit)
					newBoth(t, prog(code...)).allEdges(t)
				}
			}
		}
	}
	single := insns{
		alu64(program.AluNeg, program.SrcK, 2, 0, 0, 0), alu32(program.AluNeg, program.SrcK, 2, 0, 0, 0),
		alu64(program.AluMov, program.SrcX, 2, 3, 32, 0),
	}
	for _, size := range []int32{16, 32, 64} {
		single = append(single, alu32(program.AluEnd, program.SrcK, 2, 0, 0, size), alu32(program.AluEnd, program.SrcX, 2, 0, 0, size),
			alu64(program.AluEnd, program.SrcK, 2, 0, 0, size))
	}
	for _, in := range single {
		newBoth(t, prog(append(operands[:2:2], in, mov(0, 2), exit)...)).allEdges(t)
	}
}

// TestJumps compares each condition with the kernel.
func TestJumps(t *testing.T) {
	for op := uint8(program.JmpEq); op <= program.JmpSle; op += 0x10 {
		if op == program.JmpCall || op == program.JmpExit {
			continue
		}
		for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
			for _, in := range (insns{{Op: class | op | program.SrcX, Dst: 2, Src: 3, Off: 1}, {Op: class | op, Dst: 2, Off: 1, Imm: 7},
				{Op: class | op, Dst: 2, Off: 1, Imm: -1}}) {
				newBoth(t, prog(append(operands[:2:2], set(0, 1), in, set(0, 2), exit)...)).allEdges(t)
			}
		}
	}
}

// TestMemory compares loads, stores and atomics of each size with the kernel.
func TestMemory(t *testing.T) {
	const at = -16
	begin := append(operands[:2:2], stx(program.SizeDW, program.ModeMem, 10, 2, at, 0), set(0, 5))
	end := insns{ldx(program.SizeDW, program.ModeMem, 4, 10, at), alu64(program.AluXor, program.SrcX, 0, 4, 0, 0),
		alu64(program.AluMul, program.SrcK, 0, 0, 0, 31), alu64(program.AluXor, program.SrcX, 0, 3, 0, 0), exit}
	var middles []insns
	for _, size := range []uint8{program.SizeB, program.SizeH, program.SizeW, program.SizeDW} {
		middles = append(middles, insns{ldx(size, program.ModeMem, 0, 10, at)}, insns{stx(size, program.ModeMem, 10, 3, at, 0)},
			insns{{Op: program.ClassSt | size | program.ModeMem, Dst: 10, Off: at, Imm: -2}})
		if size != program.SizeDW {
			middles = append(middles, insns{ldx(size, program.ModeMemSX, 0, 10, at)})
		}
	}
	for _, size := range []uint8{program.SizeW, program.SizeDW} {
		for _, op := range []int32{program.AluAdd, program.AluOr, program.AluAnd, program.AluXor} {
			middles = append(middles, insns{stx(size, program.ModeAtomic, 10, 3, at, op)},
				insns{stx(size, program.ModeAtomic, 10, 3, at, op|program.AtomicFetch)})
		}
		middles = append(middles, insns{stx(size, program.ModeAtomic, 10, 3, at, program.AtomicXchg)},
			insns{mov(0, 2), stx(size, program.ModeAtomic, 10, 3, at, program.AtomicCmpXchg)},
			insns{mov(0, 3), stx(size, program.ModeAtomic, 10, 3, at, program.AtomicCmpXchg)})
	}
	for _, middle := range middles {
		code := append(begin[:len(begin):len(begin)], middle...)
		newBoth(t, prog(append(code, end...)...)).allEdges(t)
	}
}

// TestCalls: functions of the program, their frames, and the registers that calls keep.
func TestCalls(t *testing.T) {
	p := prog(append(operands[:2:2], mov(6, 3), stx(program.SizeDW, program.ModeMem, 10, 2, -8, 0), mov(1, 2),
		program.Insn{Op: program.ClassJmp | program.JmpCall, Src: program.CallFunc, Imm: 4},
		ldx(program.SizeDW, program.ModeMem, 2, 10, -8), alu64(program.AluAdd, program.SrcX, 0, 6, 0, 0),
		alu64(program.AluXor, program.SrcX, 0, 2, 0, 0), exit,
		// 10: twice the argument, by way of its own stack
		set(6, 99), stx(program.SizeDW, program.ModeMem, 10, 1, -8, 0), ldx(program.SizeDW, program.ModeMem, 0, 10, -8),
		alu64(program.AluAdd, program.SrcX, 0, 1, 0, 0), exit)...)
	p.Funcs = append(p.Funcs, program.Func{Name: "twice", Start: 10})
	newBoth(t, p).allEdges(t)
}

// TestRandom compares random programs with the kernel.
func TestRandom(t *testing.T) {
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		b := newBoth(t, random(rnd, 5+rnd.IntN(60)))
		for range 20 {
			b.agree(t, edges[rnd.IntN(len(edges))], rnd.Uint64()>>rnd.IntN(64))
		}
	}
}

// random is a program of n steps: arithmetic on R0, R2 to R9, spills, jumps
// ahead. Its result mixes all registers.
func random(rnd *rand.Rand, n int) *program.Program {
	code := append(insns{}, operands...)
	for _, r := range []uint8{0, 4, 5, 6, 7, 8, 9} {
		code = append(code, set(r, int32(rnd.Uint32())))
	}
	for off := int16(-64); off < 0; off += 8 {
		code = append(code, stx(program.SizeDW, program.ModeMem, 10, 2, off, 0))
	}
	regs := []uint8{0, 2, 3, 4, 5, 6, 7, 8, 9}
	reg := func() uint8 { return regs[rnd.IntN(len(regs))] }
	ops := []uint8{program.AluAdd, program.AluSub, program.AluMul, program.AluDiv, program.AluOr, program.AluAnd, program.AluLsh,
		program.AluRsh, program.AluMod, program.AluXor, program.AluMov, program.AluArsh}
	for i := range n {
		op := ops[rnd.IntN(len(ops))]
		off := int16(-8 * (1 + rnd.IntN(8)))
		switch rnd.IntN(6) {
		case 0, 1:
			code = append(code, alu64(op, program.SrcX, reg(), reg(), 0, 0))
		case 2:
			code = append(code, alu32(op, program.SrcX, reg(), reg(), 0, 0))
		case 3:
			code = append(code, stx(program.SizeDW, program.ModeMem, 10, reg(), off, 0))
		case 4:
			code = append(code, ldx(program.SizeDW, program.ModeMem, reg(), 10, off))
		case 5:
			ahead := int16(min(1+rnd.IntN(4), n-1-i))
			if ahead > 0 {
				jump := []uint8{program.JmpEq, program.JmpGt, program.JmpSgt, program.JmpSet, program.JmpSle}[rnd.IntN(5)]
				code = append(code, program.Insn{Op: program.ClassJmp | jump | program.SrcX, Dst: reg(), Src: reg(), Off: ahead})
			} else {
				code = append(code, set(reg(), 3))
			}
		}
	}
	for range 5 { // jumps end here at the latest
		code = append(code, alu64(program.AluAdd, program.SrcK, 0, 0, 0, 1))
	}
	for _, r := range regs[1:] {
		code = append(code, alu64(program.AluMul, program.SrcK, 0, 0, 0, 31), alu64(program.AluXor, program.SrcX, 0, r, 0, 0))
	}
	return prog(append(code, exit)...)
}

// TestFaults runs programs that no verifier accepts: they return errors and do not panic.
func TestFaults(t *testing.T) {
	for name, code := range map[string]insns{
		"no end":          {set(0, 1)},
		"below the stack": {ldx(program.SizeDW, program.ModeMem, 0, 10, -520), exit},
		"above the stack": {mov(2, 10), stx(program.SizeDW, program.ModeMem, 2, 1, 4096, 0), exit},
		"nowhere":         {set(2, 0), ldx(program.SizeB, program.ModeMem, 0, 2, 0), exit},
		"context's end":   {ldx(program.SizeDW, program.ModeMem, 0, 1, 168), exit},
		"askew":           {ldx(program.SizeDW, program.ModeMem, 0, 1, 4), exit},
		"for ever":        {{Op: program.ClassJmp | program.JmpA, Off: -1}},
		"no helper":       {{Op: program.ClassJmp | program.JmpCall, Imm: 9999}, exit},
		"no map":          {{Op: program.ClassLd | program.SizeDW, Src: program.PseudoMap, Imm: 3}, {}, exit},
		"a lookup of 0":   {set(1, 0), set(2, 0), {Op: program.ClassJmp | program.JmpCall, Imm: program.FnMapLookup}, exit},
		"too deep":        {{Op: program.ClassJmp | program.JmpCall, Src: program.CallFunc, Imm: -1}, exit},
	} {
		code, err := New(&verify.Result{Program: prog(code...), Context: program.Context{Size: 168}, Steps: 1000}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var m Machine
		if _, err := m.Run(code, &fake{}); !errors.Is(err, ErrFault) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRun runs any bytes: they end, without a panic.
func FuzzRun(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(random(rand.New(rand.NewPCG(seed, 1)), 20).Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := program.FromBytes("fuzz", raw, nil)
		if err != nil {
			return
		}
		ctx := program.Context{Arch: "amd64", Size: 168}
		r, refused := verify.Check(p, verify.Options{Context: ctx, Rights: program.ReadMemory | program.WriteMemory | program.Override})
		if refused != nil {
			r = &verify.Result{Program: p, Context: ctx, Steps: 10000}
		}
		code, err := New(r, nil)
		if err != nil {
			return
		}
		var m Machine
		if _, err := m.Run(code, &fake{}); err != nil && refused == nil {
			t.Errorf("what was verified fails: %v", err)
		}
	})
}

// TestVerified runs random programs that the verifier accepts: no faults.
func TestVerified(t *testing.T) {
	accepted := 0
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r, err := verify.Check(random(rnd, 5+rnd.IntN(60)), verify.Options{Context: program.Context{Arch: "amd64", Size: 168}})
		if err != nil {
			continue
		}
		accepted++
		code, err := New(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		var m Machine
		if _, err := m.Run(code, &fake{regs: arch.Regs{rnd.Uint64(), rnd.Uint64()}}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if accepted < 100 {
		t.Errorf("only %d programs were accepted", accepted)
	}
}

func TestAllocations(t *testing.T) {
	code, err := New(&verify.Result{Program: random(rand.New(rand.NewPCG(1, 1)), 100), Context: program.Context{Size: 168}, Steps: 10000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var m Machine
	env := &fake{}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Run(code, env); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRun(b *testing.B) {
	p := random(rand.New(rand.NewPCG(1, 1)), 100)
	code, err := New(&verify.Result{Program: p, Context: program.Context{Size: 168}, Steps: 10000}, nil)
	if err != nil {
		b.Fatal(err)
	}
	var m Machine
	env := &fake{}
	for b.Loop() {
		_, _ = m.Run(code, env)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(p.Insns)), "ns/insn")
}

// fake is a thread with memory of its own at 0x10000.
type fake struct {
	regs    arch.Regs
	memory  []byte
	printed string
}

const fakeBase = 0x10000

func (e *fake) Regs() *arch.Regs { return &e.regs }

func (e *fake) find(addr arch.Addr, n int) ([]byte, error) {
	if addr < fakeBase || int(addr-fakeBase)+n > len(e.memory) {
		return nil, fmt.Errorf("no memory at %v", addr)
	}
	return e.memory[addr-fakeBase:][:n], nil
}

func (e *fake) ReadMemory(addr arch.Addr, buf []byte) error {
	b, err := e.find(addr, len(buf))
	copy(buf, b)
	return err
}

func (e *fake) WriteMemory(addr arch.Addr, data []byte) error {
	b, err := e.find(addr, len(data))
	copy(b, data)
	return err
}

func (e *fake) Time() uint64           { return 1000 }
func (e *fake) BootTime() uint64       { return 2000 }
func (e *fake) PIDTGID() uint64        { return 7<<32 | 8 }
func (e *fake) UIDGID() uint64         { return 5<<32 | 6 }
func (e *fake) Comm() [16]byte         { return [16]byte{'n', 'a', 'm', 'e'} }
func (e *fake) CPU() int               { return 3 }
func (e *fake) Stack(buf []uint64) int { return copy(buf, []uint64{10, 20, 30}) }
func (e *fake) Cookie() uint64         { return 11 }
func (e *fake) FuncIP() uint64         { return 12 }
func (e *fake) Print(text string)      { e.printed += text + "\n" }
