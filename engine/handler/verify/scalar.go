package verify

import (
	"fmt"
	"math"
)

// scalar is what is known about a number of 64 bits: its bits, its unsigned and signed bounds, and
// the same bounds of its lower half.
type scalar struct {
	bits       tnum
	umin, umax uint64
	smin, smax int64
	half       half
}

// half has bounds of the lower 32 bits of a number.
type half struct {
	umin, umax uint32
	smin, smax int32
}

var (
	anyHalf  = half{0, math.MaxUint32, math.MinInt32, math.MaxInt32}
	anything = scalar{tnum{mask: math.MaxUint64}, 0, math.MaxUint64, math.MinInt64, math.MaxInt64, anyHalf}
)

func constant(v uint64) scalar {
	w := uint32(v)
	return scalar{known(v), v, v, int64(v), int64(v), half{w, w, int32(w), int32(w)}}
}

// upTo returns a number from lo to hi, unsigned.
func upTo(lo, hi uint64) scalar {
	s := anything
	s.umin, s.umax = lo, hi
	s.settle()
	return s
}

// between returns a number from lo to hi, signed.
func between(lo, hi int64) scalar {
	s := anything
	s.smin, s.smax = lo, hi
	s.settle()
	return s
}

// isConst reports whether s can be only one number.
func (s *scalar) isConst() bool { return s.umin == s.umax }

// settle refines bits and bounds by each other; it returns false if no number satisfies them.
func (s *scalar) settle() bool {
	for range 2 {
		s.fromBits()
		s.fromSigns()
		if s.umin > s.umax || s.smin > s.smax || !s.halves() {
			return false
		}
		var ok bool
		if s.bits, ok = s.bits.meet(span(s.umin, s.umax)); !ok {
			return false
		}
	}
	s.fromBits()
	return s.umin <= s.umax && s.smin <= s.smax
}

func (s *scalar) fromBits() {
	const sign = 1 << 63
	least, most := s.bits.value, s.bits.value|s.bits.mask
	s.umin, s.umax = max(s.umin, least), min(s.umax, most)
	s.smin = max(s.smin, int64(least|s.bits.mask&sign))
	s.smax = min(s.smax, int64(most&^(s.bits.mask&sign)))
}

// fromSigns refines the bounds if all numbers have the same sign.
func (s *scalar) fromSigns() {
	if int64(s.umin) <= int64(s.umax) {
		s.smin, s.smax = max(s.smin, int64(s.umin)), min(s.smax, int64(s.umax))
	}
	if uint64(s.smin) <= uint64(s.smax) {
		s.umin, s.umax = max(s.umin, uint64(s.smin)), min(s.umax, uint64(s.smax))
	}
}

// halves refines the number and its lower half by each other; it returns false if they contradict.
func (s *scalar) halves() bool {
	const low = math.MaxUint32
	h := &s.half
	least, most := uint32(s.bits.value), uint32(s.bits.value|s.bits.mask)
	sameUpper := s.umin>>32 == s.umax>>32
	if sameUpper {
		least, most = max(least, uint32(s.umin)), min(most, uint32(s.umax))
	}
	fits := s.smin >= math.MinInt32 && s.smax <= math.MaxInt32
	if fits {
		h.smin, h.smax = max(h.smin, int32(s.smin)), min(h.smax, int32(s.smax))
	}
	h.umin, h.umax = max(h.umin, least), min(h.umax, most)
	if h.umin > h.umax || h.smin > h.smax {
		return false
	}
	if int32(h.umin) <= int32(h.umax) {
		h.smin, h.smax = max(h.smin, int32(h.umin)), min(h.smax, int32(h.umax))
	}
	if uint32(h.smin) <= uint32(h.smax) {
		h.umin, h.umax = max(h.umin, uint32(h.smin)), min(h.umax, uint32(h.smax))
	}
	if sameUpper {
		s.umin, s.umax = s.umin&^low|uint64(h.umin), s.umax&^low|uint64(h.umax)
	}
	if fits {
		s.smin, s.smax = int64(h.smin), int64(h.smax)
	}
	var ok bool
	common := span(uint64(h.umin), uint64(h.umax))
	s.bits, ok = s.bits.meet(tnum{common.value, common.mask | ^uint64(low)})
	return ok && h.umin <= h.umax && h.smin <= h.smax && s.umin <= s.umax && s.smin <= s.smax
}

// meet adds the facts of b to s; it returns false if no number satisfies both.
func (s *scalar) meet(b *scalar) bool {
	var ok bool
	if s.bits, ok = s.bits.meet(b.bits); !ok {
		return false
	}
	s.umin, s.umax = max(s.umin, b.umin), min(s.umax, b.umax)
	s.smin, s.smax = max(s.smin, b.smin), min(s.smax, b.smax)
	return s.meetHalf(b.half)
}

// meetHalf adds facts of the lower half to s.
func (s *scalar) meetHalf(b half) bool {
	h := &s.half
	h.umin, h.umax = max(h.umin, b.umin), min(h.umax, b.umax)
	h.smin, h.smax = max(h.smin, b.smin), min(h.smax, b.smax)
	return s.settle()
}

// covers reports whether s includes every number that b can be.
func (s *scalar) covers(b *scalar) bool {
	return s.umin <= b.umin && b.umax <= s.umax && s.smin <= b.smin && b.smax <= s.smax &&
		s.bits.covers(b.bits) && s.half.covers(&b.half)
}

func (h *half) covers(b *half) bool {
	return h.umin <= b.umin && b.umax <= h.umax && h.smin <= b.smin && b.smax <= h.smax
}

// low returns the number's lower n bits, with 0 in the others.
func (s scalar) low(n uint) scalar {
	if n == 64 || s.umax>>n == 0 {
		return s
	}
	mask := uint64(1)<<n - 1
	out := scalar{s.bits.and(known(mask)), 0, mask, math.MinInt64, math.MaxInt64, anyHalf}
	if n == 32 {
		out.half = s.half
	}
	if s.umin>>n == s.umax>>n {
		out.umin, out.umax = s.umin&mask, s.umax&mask
	}
	out.settle()
	return out
}

// signed returns the number's lower n bits as a signed number.
func (s scalar) signed(n uint) scalar {
	if limit := int64(1) << (n - 1); n == 64 || s.smin >= -limit && s.smax < limit {
		return s
	}
	out := arsh(lsh(s, 64-n), 64-n)
	if n == 32 {
		h := between(int64(s.half.smin), int64(s.half.smax))
		out.meet(&h)
		out.meetHalf(s.half)
	}
	return out
}

func (s scalar) String() string {
	switch {
	case s.isConst() && s.smin < 0 && s.smin > -1<<32:
		return fmt.Sprint(s.smin)
	case s.isConst():
		return fmt.Sprint(s.umin)
	case s.smin > math.MinInt64/2 && s.smax < math.MaxInt64/2:
		return fmt.Sprintf("%d..%d", s.smin, s.smax)
	case s.umin > 0 || s.umax < math.MaxUint64:
		return fmt.Sprintf("%d..%d", s.umin, s.umax)
	case s.smin > math.MinInt64 || s.smax < math.MaxInt64:
		return fmt.Sprintf("%d..%d", s.smin, s.smax)
	}
	return "any"
}
