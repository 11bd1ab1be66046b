package interp

import (
	"math"
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/program"
)

func (m *Machine) operand(in program.Insn) uint64 {
	if in.Op&program.SrcMask == program.SrcX {
		return m.r[in.Src]
	}
	return uint64(int64(in.Imm))
}

func (m *Machine) alu64(in program.Insn, pc int) (int, error) {
	d := &m.r[in.Dst]
	op := in.Op & program.OpMask
	if op == program.AluEnd {
		*d = swap(*d, in.Imm)
		return pc + 1, nil
	}
	v, ok := operate(op, *d, m.operand(in), in.Off, 64)
	if !ok {
		return 0, m.fault(pc, "unknown operation %#x", in.Op)
	}
	*d = v
	return pc + 1, nil
}

func (m *Machine) alu32(in program.Insn, pc int) (int, error) {
	d := &m.r[in.Dst]
	op := in.Op & program.OpMask
	if op == program.AluEnd {
		if in.Op&program.SrcMask == program.SrcX { // to big endian; this machine is little
			*d = swap(*d, in.Imm)
		} else {
			*d = low(*d, in.Imm)
		}
		return pc + 1, nil
	}
	v, ok := operate(op, uint64(uint32(*d)), uint64(uint32(m.operand(in))), in.Off, 32)
	if !ok {
		return 0, m.fault(pc, "unknown operation %#x", in.Op)
	}
	*d = uint64(uint32(v))
	return pc + 1, nil
}

// operate computes a op b. Operands of 32 bits are zero-extended, and then only the lower half of
// the result counts.
func operate(op uint8, a, b uint64, off int16, size uint) (uint64, bool) {
	switch op {
	case program.AluAdd:
		return a + b, true
	case program.AluSub:
		return a - b, true
	case program.AluMul:
		return a * b, true
	case program.AluDiv, program.AluMod:
		return divide(op == program.AluMod, a, b, off == 1, size), true
	case program.AluOr:
		return a | b, true
	case program.AluAnd:
		return a & b, true
	case program.AluXor:
		return a ^ b, true
	case program.AluNeg:
		return -a, true
	case program.AluMov:
		return extend(b, uint(off)), true
	}
	return shift(op, a, b&uint64(size-1), size)
}

func shift(op uint8, a, by uint64, size uint) (uint64, bool) {
	switch op {
	case program.AluLsh:
		return a << by, true
	case program.AluRsh:
		return a >> by, true
	case program.AluArsh:
		if size == 32 {
			return uint64(int32(a) >> by), true
		}
		return uint64(int64(a) >> by), true
	}
	return 0, false
}

// divide is eBPF's division: division by zero gives zero, with the dividend as the remainder; the
// smallest number by -1 gives itself, with remainder 0.
func divide(mod bool, a, b uint64, signed bool, size uint) uint64 {
	if signed {
		return divideSigned(mod, extend(a, size), extend(b, size), size)
	}
	switch {
	case b == 0 && mod:
		return a
	case b == 0:
		return 0
	case mod:
		return a % b
	}
	return a / b
}

func divideSigned(mod bool, ua, ub uint64, size uint) uint64 {
	a, b := int64(ua), int64(ub)
	least := int64(math.MinInt64)
	if size == 32 {
		least = math.MinInt32
	}
	switch {
	case b == 0 && mod:
		return ua
	case b == 0:
		return 0
	case a == least && b == -1 && mod:
		return 0
	case a == least && b == -1:
		return ua
	case mod:
		return uint64(a % b)
	}
	return uint64(a / b)
}

// extend sign-extends the lower size bits; 0 and 64 mean all of them.
func extend(v uint64, size uint) uint64 {
	switch size {
	case 8:
		return uint64(int8(v))
	case 16:
		return uint64(int16(v))
	case 32:
		return uint64(int32(v))
	}
	return v
}

func low(v uint64, size int32) uint64 {
	switch size {
	case 16:
		return uint64(uint16(v))
	case 32:
		return uint64(uint32(v))
	}
	return v
}

func swap(v uint64, size int32) uint64 {
	switch size {
	case 16:
		return uint64(bits.ReverseBytes16(uint16(v)))
	case 32:
		return uint64(bits.ReverseBytes32(uint32(v)))
	}
	return bits.ReverseBytes64(v)
}
