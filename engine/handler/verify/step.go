package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// step follows one instruction, and reports whether the path ends there. Other paths that start
// there become pending.
func (c *checker) step(s *state) (over bool, err error) {
	in := c.p.Insns[s.pc]
	switch in.Class() {
	case program.ClassAlu, program.ClassAlu64:
		err = c.stepAlu(s, in)
	case program.ClassLd:
		c.stepWide(s, in)
	case program.ClassLdx:
		err = c.stepLoad(s, in)
	case program.ClassSt:
		err = c.stepStore(s, in)
	case program.ClassStx:
		if in.Op&program.ModeMask == program.ModeAtomic {
			err = c.stepAtomic(s, in)
		} else {
			err = c.stepStore(s, in)
		}
	default:
		return c.stepJmp(s, in)
	}
	if s.pc++; in.Wide() {
		s.pc++
	}
	return false, err
}

// stepJmp follows jumps, calls and exits, which set the next instruction themselves.
func (c *checker) stepJmp(s *state, in program.Insn) (over bool, err error) {
	switch {
	case in.IsExit():
		return c.stepExit(s)
	case in.Always():
		s.jump(in.Target(s.pc))
		return false, nil
	case in.IsJump():
		return c.stepBranch(s, in)
	case in.Src == program.CallFunc:
		return false, c.stepFunc(s)
	case in.Imm == program.FnLoop:
		return c.stepLoop(s)
	}
	if err = c.stepHelper(s, program.Helpers[in.Imm]); err == nil {
		s.pc++
	}
	return false, err
}

func (s *state) jump(to int) {
	s.path = &turn{s.pc, s.path}
	s.pc = to
}

// stepWide follows a load of 64 bits.
func (c *checker) stepWide(s *state, in program.Insn) {
	high := c.p.Insns[s.pc+1].Imm
	v := value{scalar: constant(0), index: in.Imm}
	switch in.Src {
	case program.PseudoMap:
		v.kind = handle
	case program.PseudoMapValue:
		v.kind, v.scalar = pointsValue, constant(uint64(uint32(high)))
	case program.PseudoFunc:
		to, _ := c.p.Callee(s.pc)
		v.kind, v.index = function, int32(to)
	default:
		v = num(constant(uint64(uint32(in.Imm)) | uint64(uint32(high))<<32))
	}
	*s.reg(in.Dst) = v
}

// readable refuses registers that were never written.
func (c *checker) readable(s *state, r uint8) error {
	if s.reg(r).kind == unset {
		return c.refuse(s, ErrUnsafe, int(r), "a value")
	}
	return nil
}

// isNumber refuses all but numbers.
func (c *checker) isNumber(s *state, r uint8, needed string) error {
	if s.reg(r).kind != number {
		return c.refuse(s, ErrUnsafe, int(r), "%s", needed)
	}
	return nil
}

// operand returns the second operand of an ALU operation or jump.
func (c *checker) operand(s *state, in program.Insn) (value, error) {
	if in.Op&program.SrcMask == program.SrcK {
		return num(constant(uint64(int64(in.Imm)))), nil
	}
	return *s.reg(in.Src), c.readable(s, in.Src)
}

func (c *checker) stepAlu(s *state, in program.Insn) error {
	op, wide := in.Op&program.OpMask, in.Class() == program.ClassAlu64
	dst := s.reg(in.Dst)
	switch op {
	case program.AluMov:
		return c.stepMove(s, in, wide)
	case program.AluNeg, program.AluEnd:
		if err := c.isNumber(s, in.Dst, "a number: nothing else can be counted with"); err != nil {
			return err
		}
		if op == program.AluNeg {
			*dst = num(arith(program.AluSub, wide, false, constant(0), dst.scalar))
			return nil
		}
		n := uint(in.Imm)
		if wide || in.Op&program.SrcMask == program.SrcX {
			*dst = num(swap(dst.scalar, n))
		} else {
			*dst = num(dst.low(n))
		}
		return nil
	}
	if err := c.readable(s, in.Dst); err != nil {
		return err
	}
	src, err := c.operand(s, in)
	switch {
	case err != nil:
		return err
	case dst.isPointer() || src.isPointer():
		return c.stepPointer(s, in, src)
	}
	*dst = num(arith(op, wide, in.Off == 1, dst.scalar, src.scalar))
	return nil
}

// stepMove follows a copy. Copies of a number stay bound to each other, so that a fact about one
// applies to all.
func (c *checker) stepMove(s *state, in program.Insn, wide bool) error {
	src, err := c.operand(s, in)
	if err != nil {
		return err
	}
	reg, bits := in.Op&program.SrcMask == program.SrcX, uint(in.Off)
	if src.isPointer() && (bits != 0 || !wide) {
		return c.refuse(s, ErrUnsafe, int(in.Src), "a number: no part of an address can be copied")
	}
	cut := src.scalar
	if bits != 0 {
		cut = cut.signed(bits)
	}
	if !wide {
		cut = cut.low(32)
	}
	if src.scalar != cut {
		src.id = 0
	} else if reg && src.kind == number && !src.isConst() {
		if src.id == 0 {
			src.id = c.newID()
		}
		s.reg(in.Src).id = src.id
	}
	src.scalar = cut
	*s.reg(in.Dst) = src
	return nil
}
