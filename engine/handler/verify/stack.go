package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// slot is 8 bytes of stack, with at most one known value; a value stored to part of the slot stays
// known as a whole.
type slot struct {
	init  uint8 // bit i: byte i was written
	at, n uint8 // the bytes that val takes; n is 0 if there is no value
	val   value
}

func (s *slot) overlaps(at, n int) bool { return int(s.at) < at+n && at < int(s.at)+int(s.n) }

func bytesMask(at, n int) uint8 { return uint8((1<<n - 1) << at) }

// frame is one call of a function.
type frame struct {
	fn    int // function
	ret   int // the instruction that it returns to; -1 in the program itself
	regs  [program.NumRegs]value
	slots []slot // the first one is the last 8 bytes
	loop  *node  // the bpf_loop call with this function as its body, or nil
}

func (f *frame) clone() *frame {
	out := *f
	out.slots = append(make([]slot, 0, len(f.slots)), f.slots...)
	return &out
}

// slot returns the slot of the byte at off, and the byte's position in it.
func (f *frame) slot(off int) (s *slot, at int) {
	i := (-off - 1) / 8
	for len(f.slots) <= i {
		f.slots = append(f.slots, slot{})
	}
	return &f.slots[i], off + 8*(i+1)
}

// each calls do for the parts of slots that make up n bytes from off on.
func (f *frame) each(off, n int, do func(s *slot, at, n int) bool) bool {
	for n > 0 {
		s, at := f.slot(off)
		m := min(n, 8-at)
		if !do(s, at, m) {
			return false
		}
		off, n = off+m, n-m
	}
	return true
}

// fill marks bytes as written, with an unknown value.
func (f *frame) fill(off, n int) {
	f.each(off, n, func(s *slot, at, n int) bool {
		s.init |= bytesMask(at, n)
		if s.overlaps(at, n) {
			s.n = 0
		}
		return true
	})
}

// store stores a value of up to 8 bytes; the access is aligned.
func (f *frame) store(off, n int, v value) {
	f.fill(off, n)
	s, at := f.slot(off)
	if n < 8 {
		low := v.low(uint(8 * n))
		if low != v.scalar {
			v.id = 0
		}
		v.scalar = low
	}
	s.at, s.n, s.val = uint8(at), uint8(n), v
}

// load returns the value of n aligned bytes that were written; false if part of it is part of a
// pointer.
func (f *frame) load(off, n int) (value, bool) {
	s, at := f.slot(off)
	switch {
	case s.n != 0 && int(s.at) == at && int(s.n) == n:
		return s.val, true
	case s.n != 0 && s.val.isPointer() && s.overlaps(at, n):
		return value{}, false
	case n == 8:
		return num(anything), true
	}
	return num(upTo(0, 1<<(8*n)-1)), true
}

// written reports whether all n bytes from off on were written.
func (f *frame) written(off, n int) bool {
	return f.each(off, n, func(s *slot, at, n int) bool {
		m := bytesMask(at, n)
		return s.init&m == m
	})
}

// plain reports whether none of n bytes from off on is part of a pointer.
func (f *frame) plain(off, n int) bool {
	return f.each(off, n, func(s *slot, at, n int) bool {
		return s.n == 0 || !s.val.isPointer() || !s.overlaps(at, n)
	})
}
