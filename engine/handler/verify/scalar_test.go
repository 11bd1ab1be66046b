package verify

import (
	"maps"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// holds reports whether v is one of the numbers that s can be.
func (s *scalar) holds(v uint64) bool {
	w, h := uint32(v), &s.half
	return s.umin <= v && v <= s.umax && s.smin <= int64(v) && int64(v) <= s.smax && (v^s.bits.value)&^s.bits.mask == 0 &&
		h.umin <= w && w <= h.umax && h.smin <= int32(w) && int32(w) <= h.smax
}

// someNumber is often near a border.
func someNumber(r *rand.Rand) uint64 {
	v := r.Uint64() >> r.UintN(64)
	switch r.UintN(4) {
	case 0:
		v = 1<<r.UintN(64) + r.Uint64N(3) - 1
	case 1:
		v = -v
	}
	return v
}

// someScalar is one that holds v, known more or less.
func someScalar(r *rand.Rand, v uint64) scalar {
	s := anything
	if r.UintN(3) == 0 {
		s.bits.mask = r.Uint64() & r.Uint64()
		s.bits.value = v &^ s.bits.mask
	}
	if w := someNumber(r); r.UintN(2) == 0 {
		s.umin, s.umax = min(v, w), max(v, w)
	}
	if w := int64(someNumber(r)); r.UintN(2) == 0 {
		s.smin, s.smax = min(int64(v), w), max(int64(v), w)
	}
	if x, y := uint32(v), uint32(someNumber(r)); r.UintN(3) == 0 {
		s.half.umin, s.half.umax = min(x, y), max(x, y)
	}
	if x, y := int32(v), int32(someNumber(r)); r.UintN(3) == 0 {
		s.half.smin, s.half.smax = min(x, y), max(x, y)
	}
	if r.UintN(6) == 0 {
		s = constant(v)
	}
	if !s.settle() || !s.holds(v) {
		panic("made a wrong scalar")
	}
	return s
}

// compute is an ALU operation by the book.
func compute(op uint8, wide, signed bool, a, b uint64) uint64 {
	if wide {
		return compute64(op, signed, a, b)
	}
	switch {
	case op == program.AluLsh, op == program.AluRsh:
		return uint64(uint32(compute64(op, false, uint64(uint32(a)), b&31)))
	case op == program.AluArsh:
		return uint64(uint32(int32(a) >> (b & 31)))
	case signed:
		return uint64(uint32(compute64(op, true, uint64(int64(int32(a))), uint64(int64(int32(b))))))
	}
	return uint64(uint32(compute64(op, false, uint64(uint32(a)), uint64(uint32(b)))))
}

func compute64(op uint8, signed bool, a, b uint64) uint64 {
	switch op {
	case program.AluAdd:
		return a + b
	case program.AluSub:
		return a - b
	case program.AluMul:
		return a * b
	case program.AluAnd:
		return a & b
	case program.AluOr:
		return a | b
	case program.AluXor:
		return a ^ b
	case program.AluLsh:
		return a << (b & 63)
	case program.AluRsh:
		return a >> (b & 63)
	case program.AluArsh:
		return uint64(int64(a) >> (b & 63))
	case program.AluDiv:
		switch {
		case b == 0:
			return 0
		case signed:
			return uint64(int64(a) / int64(b))
		}
		return a / b
	case program.AluMod:
		switch {
		case b == 0:
			return a
		case signed:
			return uint64(int64(a) % int64(b))
		}
		return a % b
	}
	panic("no such operation")
}

var aluOps = []uint8{
	program.AluAdd, program.AluSub, program.AluMul, program.AluDiv, program.AluMod, program.AluAnd, program.AluOr,
	program.AluXor, program.AluLsh, program.AluRsh, program.AluArsh,
}

// samples is how many random operands are tried.
func samples() int {
	if runtime.GOARCH == "arm64" {
		return 40_000 // an emulated CPU, as in the arm64 lane
	}
	return 400_000
}

// TestArith holds what is known about results against results.
func TestArith(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range samples() {
		a, b := someNumber(r), someNumber(r)
		x, y := someScalar(r, a), someScalar(r, b)
		op, wide := aluOps[r.IntN(len(aluOps))], r.UintN(2) == 0
		signed := (op == program.AluDiv || op == program.AluMod) && r.UintN(2) == 0
		got, want := arith(op, wide, signed, x, y), compute(op, wide, signed, a, b)
		if !got.holds(want) {
			t.Fatalf("%#x wide %v signed %v of %#x %+v and %#x %+v: %#x is not in %+v", op, wide, signed, a, x, b, y, want, got)
		}
		if x.isConst() && y.isConst() && !got.isConst() {
			t.Fatalf("%#x of two constants is %+v", op, got)
		}
		n := []uint{8, 16, 32, 64}[r.UintN(4)]
		if low := x.low(n); !low.holds(a << (64 - n) >> (64 - n)) {
			t.Fatalf("low %d of %#x %+v: %+v", n, a, x, low)
		}
		if s := x.signed(n); !s.holds(uint64(int64(a<<(64-n)) >> (64 - n))) {
			t.Fatalf("signed %d of %#x %+v: %+v", n, a, x, s)
		}
		if s := swap(x, n); !s.holds(bits.ReverseBytes64(a) >> (64 - n)) {
			t.Fatalf("swap %d of %#x %+v: %+v", n, a, x, s)
		}
	}
}

// compare is a jump's condition by the book.
func compare(op uint8, wide bool, a, b uint64) bool {
	s, u := int64(a), int64(b)
	if !wide {
		a, b, s, u = uint64(uint32(a)), uint64(uint32(b)), int64(int32(a)), int64(int32(b))
	}
	switch op {
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
	case program.JmpSgt:
		return s > u
	case program.JmpSge:
		return s >= u
	case program.JmpSlt:
		return s < u
	case program.JmpSle:
		return s <= u
	case program.JmpSet:
		return a&b != 0
	}
	panic("no such comparison")
}

// TestAssume holds what is learnt from a comparison against numbers for which
// it holds.
func TestAssume(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ops := slices.Sorted(maps.Keys(contrary))
	for range samples() {
		a, b := someNumber(r), someNumber(r)
		if r.UintN(8) == 0 {
			b = a
		}
		x, y := someScalar(r, a), someScalar(r, b)
		op, wide := ops[r.IntN(len(ops))], r.UintN(2) == 0
		told := op
		if !compare(op, wide, a, b) {
			told = contrary[op]
		}
		p, q := x, y
		if !assume(told, wide, &p, &q) || !p.holds(a) || !q.holds(b) {
			t.Fatalf("%#x wide %v of %#x %+v and %#x %+v: %+v, %+v", told, wide, a, x, b, y, p, q)
		}
		if !x.covers(&p) || !y.covers(&q) {
			t.Fatalf("%#x wide %v: %+v became %+v, %+v became %+v", told, wide, x, p, y, q)
		}
	}
}

// TestAssumeLearns holds that what matters is learnt.
func TestAssumeLearns(t *testing.T) {
	for _, c := range []struct {
		op   uint8
		wide bool
		a, b scalar
		want string
	}{
		{program.JmpLt, true, anything, constant(16), "0..15"},
		{program.JmpLe, true, anything, constant(16), "0..16"},
		{program.JmpGt, true, upTo(0, 20), constant(16), "17..20"},
		{program.JmpGe, true, upTo(0, 20), constant(16), "16..20"},
		{program.JmpSlt, true, between(-5, 20), constant(16), "-5..15"},
		{program.JmpSge, true, between(-5, 20), constant(0), "0..20"},
		{program.JmpEq, true, anything, constant(7), "7"},
		{program.JmpNe, true, upTo(0, 9), constant(0), "1..9"},
		{program.JmpLt, false, upTo(0, 1<<32-1), constant(16), "0..15"},
		{program.JmpSgt, false, upTo(0, 1<<32-1), constant(0), "1..2147483647"},
		{jmpClear, true, upTo(0, 255), constant(0xf0), "0..15"},
		{program.JmpSet, true, upTo(0, 255), constant(0x80), "128..255"},
	} {
		if a, b := c.a, c.b; !assume(c.op, c.wide, &a, &b) || a.String() != c.want {
			t.Errorf("%#x of %v and %v: %v, want %s", c.op, c.a, c.b, a, c.want)
		}
	}
	for _, c := range []struct {
		op   uint8
		a, b scalar
	}{
		{program.JmpLt, upTo(16, 20), constant(16)}, {program.JmpEq, upTo(1, 9), constant(0)},
		{program.JmpNe, constant(4), constant(4)}, {program.JmpSet, upTo(0, 15), constant(16)},
		{program.JmpSlt, between(0, 5), between(-9, 0)},
	} {
		if a, b := c.a, c.b; assume(c.op, true, &a, &b) {
			t.Errorf("%#x of %v and %v holds", c.op, c.a, c.b)
		}
	}
}
