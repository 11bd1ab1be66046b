package plan

import (
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Programs have no instruction that counts leading zeros. Built-in histograms compute the bit
// length by halves, without a branch (package builtin, log2): fifty instructions, each of which
// depends on the one before. Machines have an instruction for it.

// bitLengths turns each such search into one operation, if its other registers are not needed
// behind it.
func (b *builder) bitLengths() {
	b.labels()
	for i := range b.Ops {
		s := search{ops: b.Ops[i:]}
		if !s.match() {
			continue
		}
		last := &b.Ops[i+s.at-1]
		if last.Live&(bit(s.rest)|bit(s.t)) != 0 {
			continue
		}
		for k := range s.at {
			b.Ops[i+k].Kind = Nop
		}
		*last = Op{Kind: BitLen, Dst: s.n, Src: s.v, Miss: -1, Live: last.Live}
	}
}

// search matches operations in order.
type search struct {
	ops           []Op
	at            int
	v, n, rest, t uint8 // registers
}

// is matches the next operation, if it has a kind and registers; src NoReg stands for imm.
func (s *search) is(kind Kind, fn, dst, src uint8, imm int64) bool {
	if s.at >= len(s.ops) {
		return false
	}
	o := &s.ops[s.at]
	s.at++
	ok := o.Kind == kind && o.Wide && o.Dst == dst && !(s.at > 1 && o.Label)
	switch kind {
	case Move:
		return ok && o.Src == src
	case Alu:
		return ok && o.Fn == fn && o.Src == src && (src != NoReg || o.Imm == imm)
	}
	return ok
}

func (s *search) move(dst, src uint8) bool             { return s.is(Move, 0, dst, src, 0) }
func (s *search) alu(fn, dst, src uint8, n int64) bool { return s.is(Alu, fn, dst, src, n) }

// match reports whether the operations begin with the whole search.
func (s *search) match() bool {
	const signBit = 63
	if len(s.ops) < 6 || s.ops[0].Kind != Move || s.ops[1].Kind != Move || s.ops[5].Kind != Move {
		return false
	}
	s.v, s.rest, s.n, s.t = s.ops[0].Src, s.ops[0].Dst, s.ops[1].Dst, s.ops[5].Dst
	if four := bit(s.v) | bit(s.rest) | bit(s.n) | bit(s.t); bits.OnesCount16(four) != 4 {
		return false
	}
	if !s.move(s.rest, s.v) || !s.move(s.n, s.v) || !s.is(Negate, 0, s.n, 0, 0) ||
		!s.alu(program.AluOr, s.n, s.v, 0) || !s.alu(program.AluRsh, s.n, NoReg, signBit) {
		return false
	}
	for shift := int64(32); shift > 0; shift /= 2 {
		if !s.move(s.t, s.rest) || !s.alu(program.AluRsh, s.t, NoReg, shift) || !s.is(Negate, 0, s.t, 0, 0) || !s.alu(program.AluRsh, s.t, NoReg, signBit) {
			return false
		}
		if shift > 1 && (!s.alu(program.AluLsh, s.t, NoReg, int64(bits.TrailingZeros64(uint64(shift)))) || !s.alu(program.AluRsh, s.rest, s.t, 0)) {
			return false
		}
		if !s.alu(program.AluAdd, s.n, s.t, 0) {
			return false
		}
	}
	return true
}
