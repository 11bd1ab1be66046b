package compile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/native"
)

// TestHelpers calls helpers: arguments arrive, the result comes back, R6 to R9 and the stack are
// kept.
func TestHelpers(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	var got []string
	r.help = func(num int32, args [5]uint64) uint64 {
		n := len(program.Helpers[num].Args)
		got = append(got, fmt.Sprint(num, args[:n]))
		return 1000 + uint64(num)
	}
	code := list(movK(6, 60), movK(7, 70), movK(8, 80), ldx(program.SizeDW, 9, 1, 0), st(program.SizeDW, 10, -8, 5),
		movK(1, 11), movK(2, 12), movK(3, 13), call(program.FnProbeReadUser),
		mov(6, 0), movK(1, 21), movK(2, 22), call(program.FnRingbufDiscard), call(program.FnKtimeGetNS),
		alu(program.ClassAlu64, program.AluAdd, 0, 6), alu(program.ClassAlu64, program.AluAdd, 0, 7),
		alu(program.ClassAlu64, program.AluAdd, 0, 8), alu(program.ClassAlu64, program.AluAdd, 0, 9),
		ldx(program.SizeDW, 1, 10, -8), alu(program.ClassAlu64, program.AluAdd, 0, 1), exit())
	for _, called := range []bool{false, true} {
		got = nil
		r.load(accepted(host, code, nil), Target{Called: called, Helpers: r.helpers(program.FnProbeReadUser, program.FnRingbufDiscard, program.FnKtimeGetNS)})
		r0, _, err := r.run(&regs)
		want := []string{"112 [11 12 13]", "133 [21 22]", "5 []"}
		if r0 != 1005+1112+70+80+regs[0]+5 || err != nil || strings.Join(got, ";") != strings.Join(want, ";") {
			t.Errorf("%d, %v, called %q, want %q", r0, err, got, want)
		}
	}
}

// TestHelperFar calls helpers from code for an address out of their reach: nothing else in the code
// depends on its address.
func TestHelperFar(t *testing.T) {
	r := newRunner(t)
	r.help = func(num int32, args [5]uint64) uint64 { return args[0] + args[4] }
	res := accepted(host, list(movK(1, 5), movK(2, 0), movK(3, 0), movK(4, 0), movK(5, 6), call(program.FnTracePrintk), addK(0, 1), exit()), nil)
	target := r.target(Target{Helpers: r.helpers(program.FnTracePrintk)})
	target.Base += 1 << 40
	code, err := Compile(res, target)
	if err != nil {
		t.Fatal(err)
	}
	if r.h, err = r.m.Handler(code, false); err != nil {
		t.Fatal(err)
	}
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	if got, _, err := r.run(&regs); got != 12 || err != nil {
		t.Errorf("%d, %v\n% x", got, err, code.Bytes)
	}
}

// TestMissingHelper is refused with an error that says so.
func TestMissingHelper(t *testing.T) {
	for _, arch := range archs {
		_, err := Compile(accepted(arch, list(call(program.FnKtimeGetNS), exit()), nil), Target{Result: true})
		var e *Error
		if !errors.Is(err, errors.ErrUnsupported) || !errors.As(err, &e) || e.Insn != 0 || !strings.Contains(err.Error(), "ktime_get_ns (5)") {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// TestRefused has invalid results of a verifier.
func TestRefused(t *testing.T) {
	for name, code := range map[string][]insn{
		"no instructions":        nil,
		"may_goto":               list(insn{Op: program.ClassJmp | 0xe0}, exit()),
		"address space cast":     list(insn{Op: program.ClassAlu64 | program.AluMov | program.SrcX, Off: 1}, exit()),
		"packet access":          list(insn{Op: 0x20}, exit()),
		"jump out":               list(goTo(5), exit()),
		"jump back out":          list(goTo(-5), exit()),
		"register 11":            list(mov(11, 0), exit()),
		"map that is not there":  list(loadMap(1, 3), exit()),
		"btf load":               list(insn{Op: program.SizeDW, Src: 3}, insn{}, exit()),
		"half a load":            list(insn{Op: program.SizeDW}),
		"kfunc":                  list(insn{Op: program.ClassJmp | program.JmpCall, Src: 2}, exit()),
		"call of no function":    list(callFunc(7), exit()),
		"function of no code":    list(loadFunc(1, 7), exit()),
		"atomic of a byte":       list(atomic(program.SizeB, 1, 2, 0, 0), exit()),
		"atomic subtraction":     list(atomic(program.SizeW, 1, 2, 0, program.AluSub), exit()),
		"atomic of another kind": list(atomic(program.SizeW, 1, 2, 0, 0x200), exit()),
		"swap of 24 bits":        list(insn{Op: program.ClassAlu64 | program.AluEnd, Imm: 24}, exit()),
	} {
		for _, arch := range archs {
			if c, err := Compile(accepted(arch, code, nil), Target{Result: true}); err == nil {
				t.Errorf("%s, %s: % x", arch, name, c.Bytes)
			}
		}
	}
}

// keyed is a lookup in map 0 with the key in the context's word 0, or the
// constant key.
func keyed(known bool, key int32) []insn {
	code := list(ldx(program.SizeDW, 3, 1, 0), stx(program.SizeW, 10, 3, -4))
	if known {
		code = list(st(program.SizeW, 10, -4, key))
	}
	return list(code, mov(2, 10), addK(2, -4), loadMap(1, 0), call(program.FnMapLookup))
}

// TestLookup looks up in arrays with known and unknown keys, in and out of range, with and without
// the test of the result that is fused with the lookup.
func TestLookup(t *testing.T) {
	r := newRunner(t)
	for _, stride := range []int{8, 16, 24, 40, 4096} {
		for _, key := range []uint32{0, 1, 3, 4, 5, 6, 1000, 0x80000000, 0xffffffff} {
			for _, known := range []bool{false, true} {
				regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
				regs[0] = regs[0]&^0xffffffff | uint64(key)
				layout := Map{Header: 4096, Data: 8192, Stride: stride}
				plain := list(keyed(known, int32(key)), exit())
				tested := list(keyed(known, int32(key)), jumpK(program.ClassJmp, program.JmpEq, 0, 0, 2),
					ldx(program.SizeDW, 0, 0, 0), exit(), movK(0, 99), exit())
				kept := list(keyed(known, int32(key)), jumpK(program.ClassJmp, program.JmpEq, 0, 0, 1),
					ldx(program.SizeDW, 0, 0, 0), exit())
				inverse := list(keyed(known, int32(key)), jumpK(program.ClassJmp, program.JmpNe, 0, 0, 2),
					movK(0, 98), exit(), ldx(program.SizeDW, 0, 0, 0), exit())
				at := uint64(r.at) + 8192 + uint64(key)*uint64(stride)
				want := [4]uint64{at, at * 3, at * 3, at * 3}
				if key >= 5 {
					want = [4]uint64{0, 99, 0, 98}
				} else {
					binary.LittleEndian.PutUint64(r.region()[at-uint64(r.at):], at*3)
				}
				for i, code := range [][]insn{plain, tested, kept, inverse} {
					for _, called := range []bool{false, true} {
						target := r.target(Target{Called: called, Maps: []Map{layout}})
						c := r.load(accepted(host, code, array), target)
						if got, _, err := r.run(&regs); got != want[i] || err != nil {
							t.Fatalf("stride %d, key %d, known %v, program %d: %#x, %v, not %#x\n% x", stride, key, known, i, got, err, want[i], c.Bytes)
						}
						if known && c.Stack > 8 {
							t.Errorf("a known key needs %d bytes of stack", c.Stack)
						}
					}
				}
			}
		}
	}
}

// TestBump is a counter that a program adds to by a load and a store.
func TestBump(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	for _, size := range []uint8{program.SizeW, program.SizeDW} {
		for _, in := range []insn{addK(1, 5), aluK(program.ClassAlu64, program.AluSub, 1, 7), aluK(program.ClassAlu64, program.AluXor, 1, -3),
			alu(program.ClassAlu64, program.AluAdd, 1, 7), aluK(program.ClassAlu64, program.AluLsh, 1, 3), aluK(program.ClassAlu, program.AluAdd, 1, 7),
			alu(program.ClassAlu64, program.AluAdd, 1, 1)} {
			for _, used := range []bool{false, true} {
				for _, pointer := range [][]insn{loadValue(6, 0, 0), pointerTo(6)} {
					const old = 0xfffffffffffffffe
					code := list(loadValue(7, 0, 16), ldx(program.SizeDW, 7, 7, 0), pointer)
					i := len(code)
					code = list(code, ldx(size, 1, 6, 0), in, stx(size, 6, 1, 0))
					if !used {
						code = append(code, movK(1, 0))
					}
					code = list(code, ldx(program.SizeDW, 0, 6, 0), alu(program.ClassAlu64, program.AluAdd, 0, 1), exit())
					binary.LittleEndian.PutUint64(r.region()[64:], old)
					binary.LittleEndian.PutUint64(r.region()[80:], 0x123)
					binary.LittleEndian.PutUint64(r.region()[64+120:], uint64(r.at)+64)
					res := accepted(host, code, oneValue)
					for _, j := range []int{i, i + 2} {
						res.Facts[j].Region, res.Facts[j].Fixed = 3, true
					}
					n := sizes[size]
					src := narrowed(old, n, false)
					if in.Src == 7 {
						src = 0x123
					}
					v := oracle(in, narrowed(old, n, false), src)
					mask := ^uint64(0) >> (64 - 8*uint(n))
					want := uint64(old)&^mask | v&mask
					if used {
						want += v
					}
					target := r.target(Target{Maps: make([]Map, 1)})
					c := r.load(res, target)
					if got, _, err := r.run(&regs); got != want || err != nil {
						t.Errorf("%+v, size %d, used %v: %#x, %v, not %#x\n% x", in, n, used, got, err, want, c.Bytes)
					}
				}
			}
		}
	}
}

// TestFunctions calls functions of the program: R6 to R9 and the caller's stack are kept, each
// function has a stack of its own, arguments may point to the caller's.
func TestFunctions(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	r.help = func(num int32, args [5]uint64) uint64 { return 3 }
	sum := func(k uint8) insn { return alu(program.ClassAlu64, program.AluAdd, 0, k) }
	main := list(movK(6, 1), movK(7, 20), movK(8, 300), movK(9, 4000), st(program.SizeDW, 10, -8, 50000),
		mov(1, 10), addK(1, -8), callFunc(7), sum(6), sum(7), sum(8), sum(9), ldx(program.SizeDW, 1, 10, -8), sum(1), exit())
	first := list(mov(6, 1), st(program.SizeDW, 10, -8, 1), movK(7, 0), movK(8, 0), movK(9, 0), movK(1, 7), callFunc(4),
		alu(program.ClassAlu64, program.AluAdd, 0, 7), ldx(program.SizeDW, 1, 6, 0), sum(1), exit())
	second := list(movK(7, 9), mov(6, 1), call(program.FnKtimeGetNS), sum(6), exit())
	code := list(main, first, second)
	code[7].Imm = int32(len(main) - 8)
	code[len(main)+6].Imm = int32(len(first) - 7)
	for _, called := range []bool{false, true} {
		target := r.target(Target{Called: called, Helpers: r.helpers(program.FnKtimeGetNS)})
		c := r.load(accepted(host, code, nil, len(main), len(main)+len(first)), target)
		got, _, err := r.run(&regs)
		if want := uint64(3 + 7 + 50000 + 1 + 20 + 300 + 4000 + 50000); got != want || err != nil {
			t.Errorf("%d, %v, not %d\n% x", got, err, want, c.Bytes)
		}
	}
}

// TestLoop tests bpf_loop: the number of rounds, the function's arguments, the early end, invalid
// arguments.
func TestLoop(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	for _, c := range []struct {
		n, stop, flags uint64
		want, sum      uint64
	}{
		{0, 99, 0, 0, 0}, {1, 99, 0, 1, 0}, {10, 99, 0, 10, 45}, {10, 4, 0, 5, 10}, {10, 0, 0, 1, 0},
		{1<<32 + 3, 99, 0, 3, 3}, {8<<20 + 1, 99, 0, ^uint64(6), 0}, {5, 99, 1, ^uint64(21), 0}, {8 << 20, 50, 0, 51, 1275},
	} {
		for _, known := range []bool{true, false} {
			// ctx: a sum, and when to stop.
			main := list(st(program.SizeDW, 10, -8, int32(c.stop)), st(program.SizeDW, 10, -16, 0), movK(6, 5),
				load64(1, c.n), loadFunc(2, 0), mov(3, 10), addK(3, -16), movK(4, int32(c.flags)))
			at := 5
			if !known { // facts are lost at the head of a loop, even if the loop never repeats
				main = list(main, ldx(program.SizeDW, 7, 1, 0), movK(7, 1), jumpK(program.ClassJmp, program.JmpEq, 6, 6, -2))
				main[len(main)-3] = movK(8, 0)
			}
			main = list(main, call(program.FnLoop), ldx(program.SizeDW, 1, 10, -16), aluK(program.ClassAlu64, program.AluLsh, 1, 32),
				alu(program.ClassAlu64, program.AluXor, 0, 1), addK(6, -5), alu(program.ClassAlu64, program.AluAdd, 0, 6), exit())
			main[at].Imm = int32(len(main) - at - 1)
			f := list(movK(6, 77), ldx(program.SizeDW, 3, 2, 0), alu(program.ClassAlu64, program.AluAdd, 3, 1), stx(program.SizeDW, 2, 3, 0),
				movK(0, 0), ldx(program.SizeDW, 4, 2, 8), jump(program.ClassJmp, program.JmpNe, 1, 4, 1), movK(0, 1), exit())
			r.result(accepted(host, list(main, f), nil, len(main)), &regs, c.want^c.sum<<32)
		}
	}
}

// TestCookie reads what the frame has about the hit, also in a function.
func TestCookie(t *testing.T) {
	r := newRunner(t)
	r.cookie = 0xc00c1e
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	code := list(mov(6, 1), call(program.FnGetAttachCookie), mov(7, 0), mov(1, 6), call(program.FnGetFuncIP),
		alu(program.ClassAlu64, program.AluXor, 0, 7), exit())
	r.result(accepted(host, code, nil), &regs, 0xc00c1e^0xf00d)
	main := list(callFunc(1), exit())
	r.result(accepted(host, list(main, code), nil, 2), &regs, 0xc00c1e^0xf00d)
}

// TestContextArgument gives the context to a helper, which finds all of it,
// and to a function, which finds what it reads.
func TestContextArgument(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	ctx, _ := program.ContextOf(host)
	r.help = func(num int32, args [5]uint64) uint64 {
		frame := native.Bytes(args[0], ctx.Size)
		for w := range ctx.Size / 8 {
			if got := binary.LittleEndian.Uint64(frame[8*w:]); got != regs[w] {
				t.Errorf("word %d is %#x, not %#x", w, got, regs[w])
			}
		}
		return 1
	}
	code := list(mov(2, 10), addK(2, -64), movK(3, 64), movK(4, 0), call(program.FnGetStack), exit())
	target := r.target(Target{Helpers: r.helpers(program.FnGetStack)})
	r.load(accepted(host, code, nil), target)
	if got, _, err := r.run(&regs); got != 1 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	inFunc := accepted(host, list(callFunc(1), exit(), ldx(program.SizeDW, 0, 1, 24), exit()), nil, 2)
	r.result(context(inFunc, 2, 24), &regs, regs[3])
	c := r.load(inFunc, r.target(Target{}))
	if c.Reads != 1<<3|c.Reads&c.Clobbers {
		t.Errorf("reads words %#x", c.Reads)
	}
}
