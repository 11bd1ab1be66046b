package verify

import "math/bits"

// tnum is a number with some known bits: the bits not in mask are those of value, which has 0 in
// all others.
type tnum struct{ value, mask uint64 }

func known(v uint64) tnum { return tnum{value: v} }

// span returns the bits that all numbers from lo to hi have in common.
func span(lo, hi uint64) tnum {
	n := bits.Len64(lo ^ hi)
	if n == 64 {
		return tnum{mask: ^uint64(0)}
	}
	low := uint64(1)<<n - 1
	return tnum{lo &^ low, low}
}

func (a tnum) add(b tnum) tnum {
	most, least := a.value+a.mask+b.value+b.mask, a.value+b.value
	mask := most ^ least | a.mask | b.mask
	return tnum{least &^ mask, mask}
}

func (a tnum) sub(b tnum) tnum {
	d := a.value - b.value
	mask := (d + a.mask) ^ (d - b.mask) | a.mask | b.mask
	return tnum{d &^ mask, mask}
}

func (a tnum) and(b tnum) tnum {
	v := a.value & b.value
	return tnum{v, (a.value | a.mask) & (b.value | b.mask) &^ v}
}

func (a tnum) or(b tnum) tnum {
	v := a.value | b.value
	return tnum{v, (a.mask | b.mask) &^ v}
}

func (a tnum) xor(b tnum) tnum {
	mask := a.mask | b.mask
	return tnum{(a.value ^ b.value) &^ mask, mask}
}

func (a tnum) lsh(n uint) tnum { return tnum{a.value << n, a.mask << n} }
func (a tnum) rsh(n uint) tnum { return tnum{a.value >> n, a.mask >> n} }

// arsh shifts in copies of the sign bit, or unknown bits if it is unknown.
func (a tnum) arsh(n uint) tnum {
	return tnum{uint64(int64(a.value) >> n), uint64(int64(a.mask) >> n)}
}

// mul adds the products of each bit of a.
func (a tnum) mul(b tnum) tnum {
	sum := known(a.value * b.value)
	for ; a.value|a.mask != 0; a, b = a.rsh(1), b.lsh(1) {
		if a.value&1 != 0 {
			sum = sum.add(tnum{mask: b.mask})
		} else if a.mask&1 != 0 {
			sum = sum.add(tnum{mask: b.value | b.mask})
		}
	}
	return sum
}

// meet combines the facts of both about one number; it returns false if they contradict.
func (a tnum) meet(b tnum) (tnum, bool) {
	if (a.value^b.value)&^(a.mask|b.mask) != 0 {
		return a, false
	}
	mask := a.mask & b.mask
	return tnum{(a.value | b.value) &^ mask, mask}, true
}

// covers reports whether a includes every number that b can be.
func (a tnum) covers(b tnum) bool { return b.mask&^a.mask == 0 && (a.value^b.value)&^a.mask == 0 }
