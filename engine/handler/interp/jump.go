package interp

import "github.com/ptracer/ptracer/engine/handler/program"

func (m *Machine) jump(in program.Insn, pc int) (int, error) {
	switch op := in.Op & program.OpMask; op {
	case program.JmpExit:
		return exited, nil
	case program.JmpCall:
		if in.Src == program.CallFunc {
			return m.call(in, pc)
		}
		return m.help(in, pc)
	case program.JmpA:
		return in.Target(pc), nil
	default:
		a, b := m.r[in.Dst], m.operand(in)
		sa, sb := int64(a), int64(b)
		if in.Class() == program.ClassJmp32 {
			a, b, sa, sb = uint64(uint32(a)), uint64(uint32(b)), int64(int32(a)), int64(int32(b))
		}
		taken, ok := compare(op, a, b, sa, sb)
		switch {
		case !ok:
			return 0, m.fault(pc, "unknown jump %#x", in.Op)
		case taken:
			return in.Target(pc), nil
		}
		return pc + 1, nil
	}
}

func compare(op uint8, a, b uint64, sa, sb int64) (taken, ok bool) {
	switch op {
	case program.JmpEq:
		return a == b, true
	case program.JmpNe:
		return a != b, true
	case program.JmpGt:
		return a > b, true
	case program.JmpGe:
		return a >= b, true
	case program.JmpLt:
		return a < b, true
	case program.JmpLe:
		return a <= b, true
	case program.JmpSet:
		return a&b != 0, true
	case program.JmpSgt:
		return sa > sb, true
	case program.JmpSge:
		return sa >= sb, true
	case program.JmpSlt:
		return sa < sb, true
	case program.JmpSle:
		return sa <= sb, true
	}
	return false, false
}

// call enters a function of the program; its exit returns to enter.
func (m *Machine) call(in program.Insn, pc int) (int, error) {
	if m.depth == program.MaxFrames {
		return 0, m.fault(pc, "calls nest too deep")
	}
	f := &m.frames[m.depth]
	f.pc = pc + 1
	copy(f.saved[:], m.r[program.R6:program.R10])
	m.depth++
	m.setFrame()
	return pc + 1 + int(in.Imm), nil
}
