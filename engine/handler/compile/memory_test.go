package compile

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

var sizes = map[uint8]int{program.SizeB: 1, program.SizeH: 2, program.SizeW: 4, program.SizeDW: 8}

// narrowed is what a load of n bytes of v gives.
func narrowed(v uint64, n int, signed bool) uint64 {
	shift := 64 - 8*uint(n)
	if signed {
		return uint64(int64(v<<shift) >> shift)
	}
	return v << shift >> shift
}

// pointerTo loads a pointer to the map's value into dst so that nothing is
// known of it: the address lies in the value itself.
func pointerTo(dst uint8) []insn {
	return list(loadValue(dst, 0, 120), ldx(program.SizeDW, dst, dst, 0))
}

// TestLoads has loads of every size from what is known and what is not, into
// all registers.
func TestLoads(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(5, 6)))
	value := r.region()[64:]
	const v = 0x8899aabbccddeeff
	for size, n := range sizes {
		for _, signed := range []bool{false, true} {
			for k := range uint8(10) {
				for _, off := range []int16{0, 1, 3, 8, 255, 256, 4095, 4096, 32000} {
					base := (k + uint8(off)) % 10
					if leftOut(7) {
						continue
					}
					clear(value[:33000])
					binary.LittleEndian.PutUint64(value[off:], v)
					binary.LittleEndian.PutUint64(value[120:], uint64(r.at)+64)
					in := ldx(size, k, base, off)
					if signed {
						if n == 8 {
							continue
						}
						in = ldxs(size, k, base, off)
					}
					for _, pointer := range [][]insn{loadValue(base, 0, 0), pointerTo(base)} {
						r.result(accepted(host, list(pointer, in, mov(0, k), exit()), oneValue), &regs, narrowed(v, n, signed))
					}
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestStores has stores of every size, of registers and immediates.
func TestStores(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(5, 6)))
	value := r.region()[64:]
	for size, n := range sizes {
		for k := range uint8(10) {
			for _, off := range []int16{0, 1, 8, 255, 256, 4096, 32000} {
				base := (k + 1 + uint8(off)) % 10
				if base == k {
					continue
				}
				for _, imm := range []int32{-1, 0, 0x12345678, -0x12345678} {
					for form := range 4 {
						if leftOut(17) {
							continue
						}
						pointer := loadValue(base, 0, 0)
						if form&1 != 0 {
							pointer = pointerTo(base)
						}
						code := list(movK(k, imm), pointer, st(size, base, off, imm))
						if form&2 != 0 { // the constant from memory, so that it is not known
							code = list(loadValue(k, 0, 112), ldx(program.SizeDW, k, k, 0), pointer, stx(size, base, k, off))
						}
						code = list(code, ldx(program.SizeDW, 0, base, off), exit())
						clear(value[:33000])
						binary.LittleEndian.PutUint64(value[off:], 0x7777777777777777)
						binary.LittleEndian.PutUint64(value[112:], uint64(imm))
						binary.LittleEndian.PutUint64(value[120:], uint64(r.at)+64)
						target := r.target(Target{Maps: make([]Map, 1)})
						c := r.load(accepted(host, code, oneValue), target)
						got, _, err := r.run(&regs)
						mask := ^uint64(0) >> (64 - 8*uint(n))
						want := uint64(0x7777777777777777)&^mask | uint64(imm)&mask
						if err != nil || got != want {
							t.Fatalf("size %d, r%d to r%d, off %d, imm %d, form %d: %#x, %v, not %#x\n% x", n, k, base, off, imm, form, got, err, want, c.Bytes)
						}
					}
				}
			}
		}
	}
}

// TestStack spills registers and reads them back in other sizes, through R10
// and through copies.
func TestStack(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(5, 6)))
	for name, c := range map[string]struct {
		code []insn
		want uint64
	}{
		"spill": {list(load64(1, 0x1122334455667788), stx(program.SizeDW, 10, 1, -8), ldx(program.SizeW, 0, 10, -8), exit()), 0x55667788},
		"part":  {list(load64(1, 0x1122334455667788), stx(program.SizeDW, 10, 1, -512), ldxs(program.SizeH, 0, 10, -508), exit()), 0x3344},
		"copy":  {list(mov(2, 10), addK(2, -16), movK(3, 7), stx(program.SizeDW, 2, 3, 8), ldx(program.SizeDW, 0, 10, -8), exit()), 7},
		"pointer on the stack": {list(mov(2, 10), addK(2, -16), stx(program.SizeDW, 10, 2, -8), st(program.SizeDW, 10, -16, 9),
			ldx(program.SizeDW, 4, 10, -8), ldx(program.SizeDW, 0, 4, 0), exit()), 9},
		"r10 on the stack": {list(stx(program.SizeDW, 10, 10, -8), st(program.SizeDW, 10, -16, 9),
			ldx(program.SizeDW, 4, 10, -8), ldx(program.SizeDW, 0, 4, -16), exit()), 9},
		"difference":      {list(mov(0, 10), addK(0, -16), alu(program.ClassAlu64, program.AluSub, 0, 10), exit()), ^uint64(15)},
		"compared":        {list(mov(2, 10), movK(0, 1), jump(program.ClassJmp, program.JmpEq, 10, 2, 1), movK(0, 2), exit()), 1},
		"tested":          {list(mov(2, 10), movK(0, 1), jump(program.ClassJmp, program.JmpSet, 2, 10, 1), movK(0, 2), exit()), 1},
		"overwritten":     {list(movK(1, 5), stx(program.SizeDW, 10, 1, -8), st(program.SizeB, 10, -7, 1), ldx(program.SizeDW, 0, 10, -8), exit()), 0x105},
		"number plus r10": {list(movK(2, -8), alu(program.ClassAlu64, program.AluAdd, 2, 10), st(program.SizeDW, 10, -8, 3), ldx(program.SizeDW, 0, 2, 0), exit()), 3},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.result(accepted(host, c.code, nil), &regs, c.want)
		})
	}
}

// TestAtomics has every atomic operation with registers that matter.
func TestAtomics(t *testing.T) {
	r := newRunner(t)
	value := r.region()[64:]
	fns := []int32{
		program.AluAdd, program.AluOr, program.AluAnd, program.AluXor,
		program.AluAdd | program.AtomicFetch, program.AluOr | program.AtomicFetch, program.AluAnd | program.AtomicFetch,
		program.AluXor | program.AtomicFetch, program.AtomicXchg, program.AtomicCmpXchg,
	}
	const old, arg = 0x8899aabb_f0e0d0c0, 0x1234567_89abcdef
	for _, size := range []uint8{program.SizeW, program.SizeDW} {
		for _, fn := range fns {
			for _, pair := range [][2]uint8{{1, 0}, {0, 1}, {2, 3}, {3, 4}, {6, 7}, {9, 0}, {5, 5}} {
				for _, known := range []bool{true, false} {
					for _, equal := range []bool{true, false} {
						testAtomic(t, r, value, atomicCase{size, fn, pair[0], pair[1], known, equal}, old, arg)
					}
				}
			}
		}
	}
}

type atomicCase struct {
	size         uint8
	fn           int32
	base, src    uint8
	known, equal bool
}

func testAtomic(t *testing.T, r *runner, value []byte, a atomicCase, old, arg uint64) {
	t.Helper()
	if a.base == 5 { // the operand is the pointer
		arg = uint64(r.at) + 64
	}
	if a.fn == program.AtomicCmpXchg && a.base == 0 {
		return // R0 is a number
	}
	compare := arg
	if a.src != 0 {
		compare = 0x5555
		if a.equal {
			compare = old
		}
	}
	binary.LittleEndian.PutUint64(value, old)
	binary.LittleEndian.PutUint64(value[8:], arg)
	binary.LittleEndian.PutUint64(value[16:], compare)
	binary.LittleEndian.PutUint64(value[120:], uint64(r.at)+64)
	pointer := pointerTo(a.base)
	if a.known {
		pointer = loadValue(a.base, 0, 0)
	}
	code := list(loadValue(8, 0, 0), ldx(program.SizeDW, 0, 8, 16))
	if a.base != a.src {
		code = list(code, ldx(program.SizeDW, a.src, 8, 8))
	}
	code = list(code, pointer, atomic(a.size, a.base, a.src, 0, a.fn),
		stx(program.SizeDW, 8, 0, 24), stx(program.SizeDW, 8, a.src, 32), stx(program.SizeDW, 8, a.base, 40), exit())
	want := a.want(old, arg, compare, uint64(r.at)+64)
	regs := randomRegs(rand.New(rand.NewPCG(1, 1)))
	for name, target := range r.variants() {
		if name == "far" {
			continue
		}
		binary.LittleEndian.PutUint64(value, old)
		target.Maps = make([]Map, 1)
		target = r.target(target)
		c := r.load(accepted(host, code, oneValue), target)
		_, _, err := r.run(&regs)
		got := [4]uint64{binary.LittleEndian.Uint64(value)}
		for i := range 3 {
			got[i+1] = binary.LittleEndian.Uint64(value[24+8*i:])
		}
		if err != nil || got != want {
			t.Fatalf("%s %+v: %#x, %v, not %#x\n% x", name, a, got, err, want, c.Bytes)
		}
	}
}

// want is what memory, R0, the source and the base hold behind the operation.
func (a atomicCase) want(old, arg, compare, at uint64) [4]uint64 {
	n := sizes[a.size]
	wantR0, wantSrc, wantBase := compare, arg, at
	if a.base == 0 {
		wantR0 = wantBase
	} else if a.src == 0 {
		wantR0 = arg
	}
	x, y := narrowed(old, n, false), narrowed(arg, n, false)
	now := y
	switch a.fn &^ program.AtomicFetch {
	case program.AluAdd:
		now = x + y
	case program.AluOr:
		now = x | y
	case program.AluAnd:
		now = x & y
	case program.AluXor:
		now = x ^ y
	case program.AtomicCmpXchg &^ program.AtomicFetch:
		if x != narrowed(compare, n, false) {
			now = x
		}
	}
	switch {
	case a.fn == program.AtomicCmpXchg:
		wantR0 = x
		if a.src == 0 {
			wantSrc = x
		}
	case a.fn&program.AtomicFetch != 0:
		wantSrc = x
		if a.src == 0 {
			wantR0 = x
		}
		if a.src == a.base {
			wantBase = x
		}
	}
	mask := ^uint64(0) >> (64 - 8*uint(n))
	return [4]uint64{old&^mask | now&mask, wantR0, wantSrc, wantBase}
}

// TestAcquireRelease has loads and stores with an order.
func TestAcquireRelease(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(5, 6)))
	value := r.region()[64:]
	for size, n := range sizes {
		for _, off := range []int16{0, 8, 64, 4096} {
			for _, pointer := range [][]insn{loadValue(2, 0, 0), pointerTo(2)} {
				binary.LittleEndian.PutUint64(value[off:], 0)
				binary.LittleEndian.PutUint64(value[120:], uint64(r.at)+64)
				code := list(pointer, load64(3, 0x8899aabbccddeeff), atomic(size, 2, 3, off, program.AtomicStore),
					atomic(size, 0, 2, off, program.AtomicLoad), exit())
				r.result(accepted(host, code, oneValue), &regs, narrowed(0x8899aabbccddeeff, n, false))
			}
		}
	}
}

// context makes a result in which the load at index i is from the context at off.
func context(res *verify.Result, i, off int) *verify.Result {
	res.Facts[i].Region, res.Facts[i].Fixed, res.Facts[i].Off = verify.Ctx, true, off
	return res
}

// TestContext loads every word of the context in every size.
func TestContext(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(7, 8)))
	ctx, err := program.ContextOf(host)
	if err != nil {
		t.Fatal(err)
	}
	for off := range ctx.Size {
		if native.Foreign(off / 8) {
			continue
		}
		for size, n := range sizes {
			if off%n != 0 || leftOut(23) {
				continue
			}
			var raw [8]byte
			binary.LittleEndian.PutUint64(raw[:], regs[off/8])
			v := uint64(0)
			for i := range n {
				v |= uint64(raw[off%8+i]) << (8 * i)
			}
			for _, k := range []uint8{0, 1, 6} {
				r.result(accepted(host, list(ldx(size, k, 1, int16(off)), mov(0, k), exit()), nil), &regs, v)
			}
			if n < 8 {
				r.result(accepted(host, list(ldxs(size, 0, 1, int16(off)), exit()), nil), &regs, narrowed(v, n, true))
			}
		}
	}
}

// TestContextLate loads words of the context after their registers have changed, in a line and in a
// loop, also where only the verifier knows the pointer to the context.
func TestContextLate(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(7, 8)))
	for w := range program.NumRegs + 4 {
		off := int16(8 * w)
		change := []insn{}
		for k := range uint8(10) {
			if k != 1 && k != 6 {
				change = append(change, movK(k, 0x33))
			}
		}
		r.result(accepted(host, list(mov(6, 1), change, ldx(program.SizeDW, 0, 6, off), exit()), nil), &regs, regs[w])
		// The second time round, registers are changed; not by constants,
		// which would be seen through.
		code := list(mov(6, 1), movK(7, 0), ldx(program.SizeDW, 0, 6, off))
		want := regs[w]
		for _, k := range []uint8{2, 3, 4, 5, 8, 9} {
			code = append(code, ldx(program.SizeDW, k, 6, 0))
			want += regs[0]
		}
		code = list(code, addK(7, 1), jumpK(program.ClassJmp, program.JmpLt, 7, 3, -9))
		for _, k := range []uint8{2, 3, 4, 5, 8, 9} {
			code = append(code, alu(program.ClassAlu64, program.AluAdd, 0, k))
		}
		res := context(accepted(host, append(code, exit()), nil), 2, int(off))
		for i := range 6 {
			context(res, 3+i, 0)
		}
		r.result(res, &regs, want)
	}
}

// TestContextWrite changes words of the context; the thread has them then.
func TestContextWrite(t *testing.T) {
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(7, 8)))
	for w := range 15 {
		for size, n := range sizes {
			load := ldx(program.SizeDW, 0, 1, int16(8*w))
			code := list(mov(6, 1), stx(size, 6, 10, int16(8*w)), st(size, 6, int16(8*w), 0x55), load, exit())
			code[3].Src = 6
			mask := ^uint64(0) >> (64 - 8*uint(n))
			want := regs[w]&^mask | 0x55
			for name, target := range r.variants() {
				target = r.target(target)
				c := r.load(accepted(host, code, nil), target)
				got, after, err := r.run(&regs)
				if err != nil || got != want || after[w] != want || !c.Writes.Has(w) {
					t.Fatalf("%s: word %d, %d bytes: %#x, thread has %#x, %v, want %#x", name, w, n, got, after[w], err, want)
				}
			}
		}
	}
}
