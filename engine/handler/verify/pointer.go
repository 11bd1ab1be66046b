package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// farOff is how far from its region a pointer may get, in bytes, which is nowhere near an address
// overflow.
const farOff = 1 << 29

// stepPointer follows arithmetic with an address: a number may be added or subtracted.
func (c *checker) stepPointer(s *state, in program.Insn, src value) error {
	dst := s.reg(in.Dst)
	op := in.Op & program.OpMask
	out, n, reg := *dst, &src.scalar, in.Dst
	if !dst.isPointer() {
		out, n, reg = src, &dst.scalar, in.Src
	}
	switch {
	case dst.isPointer() && src.isPointer():
		return c.refuse(s, ErrUnsafe, int(in.Src), "a number: r%d is %s already", in.Dst, dst.text(c.p))
	case in.Class() != program.ClassAlu64 || op != program.AluAdd && (op != program.AluSub || !dst.isPointer()):
		return c.refuse(s, ErrUnsafe, int(reg), "a number: to an address numbers can be added, all 64 bits, and nothing else be done")
	case out.kind == maybeValue || out.kind == maybeRecord:
		return c.refuse(s, ErrUnsafe, int(reg), "a test for null before it is counted with")
	case !out.fixed():
		return c.refuse(s, ErrUnsafe, int(reg), "something that can be counted with")
	}
	out.scalar = arith(op, true, false, out.scalar, *n)
	switch limited := out.kind == pointsStack || out.kind == pointsCtx; {
	case limited && !out.isConst():
		return c.refuse(s, ErrUnsafe, int(reg), "a constant distance: the other operand is %s", n.String())
	case out.smin < -farOff || out.smax > farOff:
		return c.refuse(s, ErrUnsafe, int(reg), "bounds of the number that is added or subtracted, which is %s", n.String())
	}
	*dst = out
	return nil
}

// stepBranch follows both ways of a conditional jump, or the only possible one.
func (c *checker) stepBranch(s *state, in program.Insn) (over bool, err error) {
	if err := c.readable(s, in.Dst); err != nil {
		return false, err
	}
	src, err := c.operand(s, in)
	if err != nil {
		return false, err
	}
	if dst := s.reg(in.Dst); dst.isPointer() || src.isPointer() {
		return c.branchNull(s, in, src)
	}
	op, wide := in.Op&program.OpMask, in.Class() == program.ClassJmp
	yes, no := c.assumed(s, in, op, wide), c.assumed(s, in, contrary[op], wide)
	switch {
	case !yes.possible && !no.possible: // the known facts contradict each other: no run gets here
		return true, nil
	case !yes.possible:
		no.tell(s, in)
		s.pc++
		return false, nil
	case no.possible: // the way that goes on comes first, as in the kernel: what jumps away is the rare case, of which more is known
		other := c.fork(s)
		yes.tell(other, in)
		other.jump(in.Target(other.pc))
		no.tell(s, in)
		s.pc++
		return false, nil
	}
	yes.tell(s, in)
	s.jump(in.Target(s.pc))
	return false, nil
}

// lesson is what one way of a jump says about its operands.
type lesson struct {
	dst, src scalar
	possible bool
}

func (c *checker) assumed(s *state, in program.Insn, op uint8, wide bool) (l lesson) {
	l.dst = s.reg(in.Dst).scalar
	if reg := in.Op&program.SrcMask == program.SrcX; !reg {
		l.src = constant(uint64(int64(in.Imm)))
	} else {
		l.src = s.reg(in.Src).scalar
		if in.Src == in.Dst {
			v := constant(1)
			same := constant(1)
			l.possible = assume(op, wide, &v, &same) || op == program.JmpSet || op == jmpClear
			return l
		}
	}
	l.possible = assume(op, wide, &l.dst, &l.src)
	return l
}

func (l *lesson) tell(s *state, in program.Insn) {
	s.learn(in.Dst, l.dst)
	if in.Op&program.SrcMask == program.SrcX && in.Src != in.Dst {
		s.learn(in.Src, l.src)
	}
}

// learn stores what is known of a number in all its copies.
func (s *state) learn(r uint8, n scalar) {
	v := s.reg(r)
	id := v.id
	v.scalar = n
	if id == 0 {
		return
	}
	s.eachValue(func(v *value) {
		if v.kind == number && v.id == id {
			v.scalar = n
		}
	})
}

// branchNull compares an address with 0.
func (c *checker) branchNull(s *state, in program.Insn, src value) (over bool, err error) {
	dst, r := s.reg(in.Dst), in.Dst
	if !dst.isPointer() {
		dst, src, r = &src, *dst, in.Src
	}
	op := in.Op & program.OpMask
	if op != program.JmpEq && op != program.JmpNe || in.Class() != program.ClassJmp || src.kind != number || !src.isConst() || src.umin != 0 {
		return false, c.refuse(s, ErrUnsafe, int(r), "a number: an address can only be compared with 0, for being equal, all 64 bits")
	}
	if dst.kind != maybeValue && dst.kind != maybeRecord {
		if op == program.JmpNe {
			s.jump(in.Target(s.pc))
		} else {
			s.pc++
		}
		return false, nil
	}
	id := dst.id
	other := c.fork(s)
	other.null(id, op == program.JmpNe)
	other.pc++
	s.null(id, op == program.JmpEq)
	s.jump(in.Target(s.pc))
	return false, nil
}

// null records in all copies of a pointer whether it is 0.
func (s *state) null(id uint32, isNull bool) {
	s.eachValue(func(v *value) {
		switch {
		case v.id != id || v.kind != maybeValue && v.kind != maybeRecord:
		case isNull:
			*v = num(constant(0))
		case v.kind == maybeValue:
			v.kind, v.id = pointsValue, 0
		default:
			v.kind = pointsRecord
		}
	})
	if isNull {
		s.release(id)
	}
}

// release removes a record from those that must be ended.
func (s *state) release(id uint32) {
	var left []uint32
	for _, r := range s.refs {
		if r != id {
			left = append(left, r)
		}
	}
	s.refs = left
}
