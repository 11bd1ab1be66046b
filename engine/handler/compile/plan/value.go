package plan

import (
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// what is the kind of a value.
type what uint8

const (
	unknown what = iota
	number       // n
	pointer      // mem
	some         // not 0
	code         // function n
	copied       // the value of register n, until that is set again
	ids          // the result of the call at operation n: the ids of thread and process
)

// value is what is known about a register or stack slot.
type value struct {
	what what
	n    int64
	mem  Mem
}

func num(n int64) value { return value{what: number, n: n} }

func point(base uint8, off int64) value { return value{what: pointer, mem: Mem{base, off}} }

// slot is a piece of the stack with a known value.
type slot struct {
	off  int64
	size uint8
	value
}

// maxSlots is how many pieces of the stack are tracked: keys and spills.
const maxSlots = 8

// state is what is known before an instruction.
type state struct {
	regs  [program.R10]value
	slots []slot
}

func (s *state) get(r uint8) value {
	switch {
	case r == program.R10:
		return point(BaseStack, 0)
	case r < program.R10:
		return s.regs[r]
	}
	return value{}
}

func (s *state) set(r uint8, v value) {
	if r < program.R10 {
		s.regs[r] = v
		s.forgetCopies(1 << r)
	}
}

// forgetCopies makes slots unknown that are copies of registers in mask.
func (s *state) forgetCopies(mask uint16) {
	s.slots = slices.DeleteFunc(s.slots, func(o slot) bool { return o.what == copied && mask>>o.n&1 != 0 })
}

// forget makes the registers in mask unknown.
func (s *state) forget(mask uint16) {
	for r := range s.regs {
		if mask>>r&1 != 0 {
			s.regs[r] = value{}
		}
	}
	s.forgetCopies(mask)
}

// write records that size bytes of the stack at off are v from now on.
func (s *state) write(off int64, size uint8, v value) {
	s.slots = slices.DeleteFunc(s.slots, func(o slot) bool {
		return off < o.off+int64(o.size) && o.off < off+int64(size)
	})
	if v.what != unknown && len(s.slots) < maxSlots {
		s.slots = append(s.slots, slot{off, size, v})
	}
}

// read returns what is known about size bytes of the stack at off.
func (s *state) read(off int64, size uint8) value {
	for _, o := range s.slots {
		if o.off == off && o.size == size {
			return o.value
		}
	}
	return value{}
}

// meet keeps in s the facts that t has as well.
func (s *state) meet(t *state) {
	for r := range s.regs {
		if s.regs[r] != t.regs[r] {
			s.regs[r] = value{}
		}
	}
	s.slots = slices.DeleteFunc(s.slots, func(o slot) bool { return !slices.Contains(t.slots, o) })
}

func (s *state) clone() *state {
	t := *s
	t.slots = slices.Clone(s.slots)
	return &t
}

// sum returns a + b of 64 bits, as far as it is known.
func sum(a, b value) value {
	if b.what == pointer {
		a, b = b, a
	}
	switch {
	case b.what != number:
		return value{}
	case a.what == number:
		return num(a.n + b.n)
	case a.what == pointer:
		return point(a.mem.Base, a.mem.Off+b.n)
	}
	return value{}
}

// holds reports whether a fn b is true, with fn as in a conditional jump.
func holds(fn uint8, a, b int64, wide bool) bool {
	if !wide {
		a, b = int64(int32(a)), int64(int32(b)) // keeps the signed and the unsigned order
	}
	switch fn {
	case program.JmpEq:
		return a == b
	case program.JmpNe:
		return a != b
	case program.JmpSet:
		return a&b != 0
	case program.JmpGt:
		return uint64(a) > uint64(b)
	case program.JmpGe:
		return uint64(a) >= uint64(b)
	case program.JmpLt:
		return uint64(a) < uint64(b)
	case program.JmpLe:
		return uint64(a) <= uint64(b)
	case program.JmpSgt:
		return a > b
	case program.JmpSge:
		return a >= b
	case program.JmpSlt:
		return a < b
	}
	return a <= b // JmpSle
}
