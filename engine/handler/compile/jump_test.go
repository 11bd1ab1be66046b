package compile

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// compares is what a conditional jump does, after RFC 9669.
func compares(in insn, a, b uint64) bool {
	if in.Op&program.SrcMask == program.SrcK {
		b = uint64(int64(in.Imm))
	}
	x, y := int64(a), int64(b)
	if in.Class() == program.ClassJmp32 {
		a, b = uint64(uint32(a)), uint64(uint32(b))
		x, y = int64(int32(a)), int64(int32(b))
	}
	switch in.Op & program.OpMask {
	case program.JmpEq:
		return a == b
	case program.JmpNe:
		return a != b
	case program.JmpGt:
		return a > b
	case program.JmpGe:
		return a >= b
	case program.JmpLt:
		return a < b
	case program.JmpLe:
		return a <= b
	case program.JmpSet:
		return a&b != 0
	case program.JmpSgt:
		return x > y
	case program.JmpSge:
		return x >= y
	case program.JmpSlt:
		return x < y
	}
	return x <= y
}

var jumpFns = []uint8{
	program.JmpEq, program.JmpGt, program.JmpGe, program.JmpSet, program.JmpNe, program.JmpSgt, program.JmpSge,
	program.JmpLt, program.JmpLe, program.JmpSlt, program.JmpSle,
}

// TestJumps runs every conditional jump on every pair of edges.
func TestJumps(t *testing.T) {
	r := newRunner(t)
	n := 0
	for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
		for _, fn := range jumpFns {
			for _, pair := range registersOf {
				n++
				testJump(t, r, insn{Op: class | fn | program.SrcX, Dst: pair[0], Src: pair[1]}, n)
			}
			for _, imm := range edges {
				n++
				testJump(t, r, insn{Op: class | fn, Dst: registersOf[n%len(registersOf)][0], Imm: int32(imm)}, n)
			}
		}
	}
}

func testJump(t *testing.T, r *runner, in insn, n int) {
	t.Helper()
	in.Off = 2
	// The value loaded last is not needed behind the jump, which can use it from memory.
	dst, src := ldx(program.SizeDW, in.Dst, 2, 0), ldx(program.SizeDW, in.Src, 2, 8)
	if n%3 == 0 && in.Src != in.Dst {
		dst, src = src, dst
	}
	code := list(loadValue(2, 0, 0), src, dst, in, movK(0, 1), exit(), movK(0, 2), exit())
	target := r.target(Target{Called: n%2 == 0, Maps: make([]Map, 1)})
	if leftOut(3) {
		return
	}
	c := r.load(accepted(host, code, oneValue), target)
	value := r.region()[64:]
	regs := randomRegs(rand.New(rand.NewPCG(uint64(n), 0)))
	others := edges
	if in.Op&program.SrcMask == program.SrcK || in.Src == in.Dst {
		others = others[:1]
	}
	for _, a := range edges {
		for _, b := range others {
			if in.Src == in.Dst && in.Op&program.SrcMask != program.SrcK {
				b = a
			}
			binary.LittleEndian.PutUint64(value, a)
			binary.LittleEndian.PutUint64(value[8:], b)
			want := uint64(1)
			if compares(in, a, b) {
				want = 2
			}
			got, _, err := r.run(&regs)
			if err != nil || got != want {
				t.Fatalf("%+v of %#x and %#x: %d, %v, not %d\n% x", in, a, b, got, err, want, c.Bytes)
			}
		}
	}
}

// TestDecided runs jumps with an outcome that is known when they are compiled.
func TestDecided(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(3, 4)))
	for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
		for _, fn := range jumpFns {
			for _, a := range edges {
				b := edges[(int(a)^int(fn))&15]
				in := insn{Op: class | fn | program.SrcX, Dst: 3, Src: 4, Off: 2}
				want := uint64(1)
				if compares(in, a, b) {
					want = 2
				}
				code := list(load64(3, a), load64(4, b), in, movK(0, 1), exit(), movK(0, 2), exit())
				if !leftOut(7) {
					r.result(accepted(host, code, nil), &regs, want)
				}
			}
		}
	}
}

// TestFar has jumps over more than a short one reaches, both ways.
func TestFar(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(3, 4)))
	for _, n := range []int{1, 10, 20, 30, 35, 40, 41, 42, 43, 44, 45, 50, 70, 200, 3000} {
		// Three times round: from the start to the end, back into the middle.
		fill := make([]insn, n)
		for i := range fill {
			fill[i] = aluK(program.ClassAlu64, program.AluXor, 0, 0x55)
		}
		code := list(ldx(program.SizeDW, 0, 1, 0), movK(0, 0), ldx(program.SizeDW, 6, 1, 8),
			alu(program.ClassAlu64, program.AluSub, 6, 6), goTo(int16(n)+1),
			fill, addK(0, 1), addK(6, 1),
			jumpK(program.ClassJmp, program.JmpLt, 6, 3, int16(-n-3)),
			exit())
		res := accepted(host, code, nil)
		want := uint64(0)
		for round := range 3 {
			if round > 0 {
				for range n {
					want ^= 0x55
				}
				want++
			}
		}
		r.result(res, &regs, want)
	}
}

// TestJumpsAfter compares the result of arithmetic with 0, with one operand possibly in memory:
// machines set flags by it.
func TestJumpsAfter(t *testing.T) {
	r := newRunner(t)
	n := 0
	for _, form := range aluForms() {
		fn := form.Op & program.OpMask
		if form.Off != 0 || fn == program.AluEnd || fn == program.AluMov {
			continue
		}
		for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
			for _, jumps := range jumpFns {
				n++
				pair := registersOf[n%len(registersOf)]
				form.Dst, form.Src, form.Imm = pair[0], pair[1], int32(edges[n%len(edges)])
				if form.Op&program.SrcMask == program.SrcK {
					form.Src = form.Dst
				}
				testJumpAfter(t, r, form, jumpK(class, jumps, form.Dst, 0, 2), n)
			}
		}
	}
}

func testJumpAfter(t *testing.T, r *runner, in, jump insn, n int) {
	t.Helper()
	if fn := in.Op & program.OpMask; in.Op&program.SrcMask == program.SrcK && in.Imm == 0 && (fn == program.AluDiv || fn == program.AluMod) {
		in.Imm = 3
	}
	code := list(loadValue(2, 0, 0), ldx(program.SizeDW, in.Dst, 2, 0), ldx(program.SizeDW, in.Src, 2, 8))
	if in.Src == in.Dst {
		code = code[:len(code)-1]
	}
	code = append(code, in, jump)
	code = append(code, list(movK(0, 1), exit(), movK(0, 2), exit())...)
	target := r.target(Target{Called: n%2 == 0, Maps: make([]Map, 1)})
	if leftOut(3) {
		return
	}
	c := r.load(accepted(host, code, oneValue), target)
	value := r.region()[64:]
	regs := randomRegs(rand.New(rand.NewPCG(uint64(n), 0)))
	for _, a := range edges {
		for _, b := range edges {
			binary.LittleEndian.PutUint64(value, a)
			binary.LittleEndian.PutUint64(value[8:], b)
			if in.Src == in.Dst {
				b = a
			}
			want := uint64(1)
			if compares(jump, oracle(in, a, b), 0) {
				want = 2
			}
			got, _, err := r.run(&regs)
			if err != nil || got != want {
				t.Fatalf("%+v of %#x and %#x, then %+v: %d, %v, not %d\n% x", in, a, b, jump, got, err, want, c.Bytes)
			}
		}
	}
}
