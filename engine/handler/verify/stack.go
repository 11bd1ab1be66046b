package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// slot is 8 bytes of stack. What is stored to part of it stays known as a
// whole, one value a slot.
type slot struct {
	init  uint8 // bit i: byte i was written
	at, n uint8 // bytes that val takes; n is 0 if there is none
	val   value
}

func (s *slot) overlaps(at, n int) bool { return int(s.at) < at+n && at < int(s.at)+int(s.n) }

func bytesMask(at, n int) uint8 { return uint8((1<<n - 1) << at) }

// frame is one call of a function.
type frame struct {
	fn    int // function
	ret   int // instruction that it returns to, -1 of the program itself
	regs  [program.NumRegs]value
	slots []slot // the last 8 bytes come first
	loop  *node  // that the function is the body of, or nil
}

func (f *frame) clone() *frame {
	out := *f
	out.slots = append(make([]slot, 0, len(f.slots)), f.slots...)
	return &out
}

// slot is the one with the byte at off, and that byte's place in it.
func (f *frame) slot(off int) (s *slot, at int) {
	i := (-off - 1) / 8
	for len(f.slots) <= i {
		f.slots = append(f.slots, slot{})
	}
	return &f.slots[i], off + 8*(i+1)
}

// each goes through the pieces of slots that n bytes from off on are.
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

// fill makes bytes known as written, with what nobody knows.
func (f *frame) fill(off, n int) {
	f.each(off, n, func(s *slot, at, n int) bool {
		s.init |= bytesMask(at, n)
		if s.overlaps(at, n) {
			s.n = 0
		}
		return true
	})
}

// store keeps a value of up to 8 bytes; the access is aligned.
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

// load is the value of n aligned bytes that were written; false if part of it
// is part of a pointer.
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

// written is whether all n bytes from off on are.
func (f *frame) written(off, n int) bool {
	return f.each(off, n, func(s *slot, at, n int) bool {
		m := bytesMask(at, n)
		return s.init&m == m
	})
}

// plain is whether none of n bytes from off on is part of a pointer.
func (f *frame) plain(off, n int) bool {
	return f.each(off, n, func(s *slot, at, n int) bool {
		return s.n == 0 || !s.val.isPointer() || !s.overlaps(at, n)
	})
}
