package verify

import (
	"math"
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// arith returns the result of an ALU operation of 32 or 64 bits on two numbers. Division by 0 gives
// 0, modulo 0 the dividend, and shifts use the lower bits of their count (RFC 9669).
func arith(op uint8, wide, signed bool, a, b scalar) scalar {
	if wide {
		return arith64(op, signed, a, b, 64)
	}
	switch x, y := a.low(32), b.low(32); {
	case op == program.AluArsh:
		return arith64(op, signed, a.signed(32), y, 32).low(32)
	case signed:
		return arith64(op, signed, a.signed(32), b.signed(32), 32).low(32)
	default:
		out := arith64(op, signed, x, y, 32).low(32)
		if modular(op) && (a.half.smin < 0 || b.half.smin < 0) {
			other := arith64(op, signed, a.signed(32), b.signed(32), 32).low(32)
			out.meet(&other)
		}
		return out
	}
}

// modular reports whether the lower half of a result depends only on the lower halves of the
// operands.
func modular(op uint8) bool {
	switch op {
	case program.AluAdd, program.AluSub, program.AluMul, program.AluAnd, program.AluOr, program.AluXor:
		return true
	}
	return false
}

func arith64(op uint8, signed bool, a, b scalar, width uint) scalar {
	switch op {
	case program.AluAdd:
		return add(a, b)
	case program.AluSub:
		return sub(a, b)
	case program.AluMul:
		return mul(a, b)
	case program.AluAnd, program.AluOr, program.AluXor:
		return bitwise(op, a, b)
	case program.AluDiv, program.AluMod:
		if signed {
			return signedDiv(op, a, b)
		}
		return divide(op, a, b)
	case program.AluLsh, program.AluRsh, program.AluArsh:
		return shift(op, a, b, width)
	}
	return anything
}

func add(a, b scalar) scalar {
	out := anything
	out.bits = a.bits.add(b.bits)
	if lo, over := bits.Add64(a.umax, b.umax, 0); over == 0 {
		out.umin, out.umax = a.umin+b.umin, lo
	}
	lo, hi := a.smin+b.smin, a.smax+b.smax
	if (lo < a.smin) == (b.smin < 0) && (hi < a.smax) == (b.smax < 0) {
		out.smin, out.smax = lo, hi
	}
	out.settle()
	return out
}

func sub(a, b scalar) scalar {
	out := anything
	out.bits = a.bits.sub(b.bits)
	if a.umin >= b.umax {
		out.umin, out.umax = a.umin-b.umax, a.umax-b.umin
	}
	lo, hi := a.smin-b.smax, a.smax-b.smin
	if (lo > a.smin) == (b.smax < 0) && (hi > a.smax) == (b.smin < 0) {
		out.smin, out.smax = lo, hi
	}
	out.settle()
	return out
}

func mul(a, b scalar) scalar {
	out := anything
	out.bits = a.bits.mul(b.bits)
	if over, most := bits.Mul64(a.umax, b.umax); over == 0 {
		out.umin, out.umax = a.umin*b.umin, most
	}
	out.settle()
	return out
}

func bitwise(op uint8, a, b scalar) scalar {
	out := anything
	switch op {
	case program.AluAnd:
		out.bits = a.bits.and(b.bits)
		out.umax = min(a.umax, b.umax)
	case program.AluOr:
		out.bits = a.bits.or(b.bits)
		out.umin = max(a.umin, b.umin)
	default:
		out.bits = a.bits.xor(b.bits)
	}
	out.settle()
	return out
}

func divide(op uint8, a, b scalar) scalar {
	switch {
	case op == program.AluDiv && b.umax == 0:
		return constant(0)
	case op == program.AluDiv && b.umin == 0:
		return upTo(0, a.umax)
	case op == program.AluDiv:
		return upTo(a.umin/b.umax, a.umax/b.umin)
	case b.umax == 0 || b.umin > 0 && a.umax < b.umin:
		return a
	case b.umin == 0:
		return upTo(0, a.umax)
	case a.isConst() && b.isConst():
		return constant(a.umin % b.umin)
	}
	return upTo(0, min(a.umax, b.umax-1))
}

// signedDiv computes the result for two constants; the smallest number divided by -1 is itself.
func signedDiv(op uint8, a, b scalar) scalar {
	switch div := op == program.AluDiv; {
	case !a.isConst() || !b.isConst():
		return anything
	case div && b.smin == 0, !div && b.smin == -1:
		return constant(0)
	case !div && b.smin == 0:
		return a
	case div && b.smin == -1:
		return constant(-a.umin)
	case div:
		return constant(uint64(a.smin / b.smin))
	}
	return constant(uint64(a.smin % b.smin))
}

// shift uses what is known of the shift count. The upper bits of 32-bit numbers have been cleared
// or, for arithmetic right shifts, sign-extended.
func shift(op uint8, a, b scalar, width uint) scalar {
	if b = bitwise(program.AluAnd, b, constant(uint64(width-1))); !b.isConst() {
		switch {
		case op == program.AluRsh:
			return upTo(0, a.umax)
		case op == program.AluArsh && a.smin >= 0:
			return upTo(0, a.umax)
		case op == program.AluArsh && a.smax < 0:
			return between(a.smin, -1)
		}
		return anything
	}
	n := uint(b.umin)
	switch op {
	case program.AluLsh:
		return lsh(a, n)
	case program.AluRsh:
		out := scalar{a.bits.rsh(n), a.umin >> n, a.umax >> n, math.MinInt64, math.MaxInt64, anyHalf}
		out.settle()
		return out
	}
	return arsh(a, n)
}

func lsh(a scalar, n uint) scalar {
	out := anything
	out.bits = a.bits.lsh(n)
	if a.umax<<n>>n == a.umax {
		out.umin, out.umax = a.umin<<n, a.umax<<n
	}
	if a.smin<<n>>n == a.smin && a.smax<<n>>n == a.smax {
		out.smin, out.smax = a.smin<<n, a.smax<<n
	}
	out.settle()
	return out
}

func arsh(a scalar, n uint) scalar {
	out := scalar{a.bits.arsh(n), 0, math.MaxUint64, a.smin >> n, a.smax >> n, anyHalf}
	out.settle()
	return out
}

// swap returns the lower n bits, a multiple of 8, with the bytes in reverse order.
func swap(a scalar, n uint) scalar {
	flip := func(v uint64) uint64 { return bits.ReverseBytes64(v) >> (64 - n) }
	a = a.low(n)
	out := anything
	out.bits = tnum{flip(a.bits.value), flip(a.bits.mask)}
	out.settle()
	return out
}
