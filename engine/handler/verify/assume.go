package verify

import (
	"math"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// jmpClear is the opposite of JmpSet, which no instruction has.
const jmpClear = 0xe0

// contrary maps comparisons to their opposites.
var contrary = map[uint8]uint8{
	program.JmpEq: program.JmpNe, program.JmpNe: program.JmpEq,
	program.JmpGt: program.JmpLe, program.JmpLe: program.JmpGt,
	program.JmpGe: program.JmpLt, program.JmpLt: program.JmpGe,
	program.JmpSgt: program.JmpSle, program.JmpSle: program.JmpSgt,
	program.JmpSge: program.JmpSlt, program.JmpSlt: program.JmpSge,
	program.JmpSet: jmpClear,
}

// assume applies to a and b that a comparison of them holds; it returns false if the comparison
// can't hold.
func assume(op uint8, wide bool, a, b *scalar) bool {
	if wide {
		return assume64(op, a, b)
	}
	cut := func(s *scalar) scalar { return s.low(32) }
	switch op {
	case program.JmpSgt, program.JmpSge, program.JmpSlt, program.JmpSle:
		cut = func(s *scalar) scalar { return s.signed(32) }
	}
	a32, b32 := cut(a), cut(b)
	return assume64(op, &a32, &b32) && a.learn32(a32) && b.learn32(b32)
}

// learn32 applies what is known of the lower half.
func (s *scalar) learn32(low scalar) bool {
	if s.smin >= math.MinInt32 && s.smax <= math.MaxInt32 && low.smin >= math.MinInt32 && low.smax <= math.MaxInt32 {
		return s.meet(&low) // the same number, signed or not
	}
	const upper = ^uint64(math.MaxUint32)
	var ok bool
	if s.bits, ok = s.bits.meet(tnum{low.bits.value &^ upper, low.bits.mask | upper}); !ok {
		return false
	}
	return s.meetHalf(low.half)
}

func assume64(op uint8, a, b *scalar) bool {
	switch op {
	case program.JmpEq:
		return a.meet(b) && b.meet(a)
	case program.JmpNe:
		return a.except(b) && b.except(a)
	case program.JmpGt:
		return less(b, a, 1)
	case program.JmpGe:
		return less(b, a, 0)
	case program.JmpLt:
		return less(a, b, 1)
	case program.JmpLe:
		return less(a, b, 0)
	case program.JmpSgt:
		return lessSigned(b, a, 1)
	case program.JmpSge:
		return lessSigned(b, a, 0)
	case program.JmpSlt:
		return lessSigned(a, b, 1)
	case program.JmpSle:
		return lessSigned(a, b, 0)
	case program.JmpSet:
		return a.shares(b)
	case jmpClear:
		return a.disjoint(b) && b.disjoint(a)
	}
	return true
}

// less applies a + gap <= b, unsigned; gap is 0 or 1.
func less(a, b *scalar, gap uint64) bool {
	if b.umax < gap || a.umin > math.MaxUint64-gap {
		return false
	}
	a.umax = min(a.umax, b.umax-gap)
	b.umin = max(b.umin, a.umin+gap)
	return a.settle() && b.settle()
}

func lessSigned(a, b *scalar, gap int64) bool {
	if b.smax < math.MinInt64+gap || a.smin > math.MaxInt64-gap {
		return false
	}
	a.smax = min(a.smax, b.smax-gap)
	b.smin = max(b.smin, a.smin+gap)
	return a.settle() && b.settle()
}

// except removes b's only number from the ends of s.
func (s *scalar) except(b *scalar) bool {
	if !b.isConst() {
		return true
	}
	v := b.umin
	if s.isConst() {
		return s.umin != v
	}
	if s.umin == v {
		s.umin++
	}
	if s.umax == v {
		s.umax--
	}
	if s.smin == int64(v) {
		s.smin++
	}
	if s.smax == int64(v) {
		s.smax--
	}
	return s.settle()
}

// shares applies that s has at least one of b's bits.
func (s *scalar) shares(b *scalar) bool {
	most := (s.bits.value | s.bits.mask) & (b.bits.value | b.bits.mask)
	if most == 0 {
		return false
	}
	if b.isConst() && most&(most-1) == 0 {
		s.bits.value |= most
		s.bits.mask &^= most
		return s.settle()
	}
	return true
}

// disjoint applies that s has none of the bits that b is known to have.
func (s *scalar) disjoint(b *scalar) bool {
	if s.bits.value&b.bits.value != 0 {
		return false
	}
	s.bits.mask &^= b.bits.value
	return s.settle()
}
