package program

import "fmt"

const reserved = "a field that means nothing here is not 0"

// classes return what is wrong with an instruction, by class.
var classes = [8]func(Insn) string{
	ClassLd: checkLd, ClassLdx: checkLdx, ClassSt: checkSt, ClassStx: checkStx,
	ClassAlu: checkAlu, ClassAlu64: checkAlu, ClassJmp: checkJmp, ClassJmp32: checkJmp,
}

func unknown(i Insn) string { return fmt.Sprintf("no such instruction: %#02x", i.Op) }

// kernelOnly are instructions that only the kernel has.
var kernelOnly = map[uint8]string{
	0xe5: "may_goto",
	0x20: "load from a packet", 0x28: "load from a packet", 0x30: "load from a packet",
	0x40: "load from a packet", 0x48: "load from a packet", 0x50: "load from a packet",
}

// clean returns a reason if one of the values is not 0.
func clean(values ...int) string {
	for _, v := range values {
		if v != 0 {
			return reserved
		}
	}
	return ""
}

func checkLd(i Insn) string {
	if !i.Wide() {
		return unknown(i)
	}
	return clean(int(i.Off))
}

func checkLdx(i Insn) string {
	switch mode := i.Op & ModeMask; {
	case mode == ModeMem, mode == ModeMemSX && i.Size() < 8:
		return clean(int(i.Imm))
	}
	return unknown(i)
}

func checkSt(i Insn) string {
	if i.Op&ModeMask != ModeMem {
		return unknown(i)
	}
	return clean(int(i.Src))
}

func checkStx(i Insn) string {
	switch i.Op & ModeMask {
	case ModeMem:
		return clean(int(i.Imm))
	case ModeAtomic:
		return checkAtomic(i)
	}
	return unknown(i)
}

func checkAtomic(i Insn) string {
	switch i.Imm {
	case AtomicLoad, AtomicStore:
		return ""
	case AluAdd, AluOr, AluAnd, AluXor, AluAdd | AtomicFetch, AluOr | AtomicFetch,
		AluAnd | AtomicFetch, AluXor | AtomicFetch, AtomicXchg, AtomicCmpXchg:
		if i.Size() >= 4 {
			return ""
		}
		return fmt.Sprintf("atomic operation on %d bytes", i.Size())
	}
	return fmt.Sprintf("no such atomic operation: %#x", i.Imm)
}

func checkAlu(i Insn) string {
	long, reg := i.Class() == ClassAlu64, i.Op&SrcMask == SrcX
	switch op := i.Op & OpMask; op {
	case AluEnd:
		if i.Imm != 16 && i.Imm != 32 && i.Imm != 64 || long && reg {
			return fmt.Sprintf("no such swap of bytes: %d", i.Imm)
		}
		return clean(int(i.Src), int(i.Off))
	case AluNeg:
		return clean(int(i.Op&SrcMask), int(i.Src), int(i.Off), int(i.Imm))
	case 0xe0, 0xf0:
		return unknown(i)
	case AluMov:
		if reg && (i.Off == 8 || i.Off == 16 || long && i.Off == 32) {
			return clean(int(i.Imm))
		}
	case AluDiv, AluMod:
		if !reg && i.Imm == 0 {
			return "division by zero"
		}
		if i.Off == 1 { // signed
			i.Off = 0
		}
	case AluLsh, AluRsh, AluArsh:
		if bits := i.bits(); !reg && (i.Imm < 0 || i.Imm >= bits) {
			return fmt.Sprintf("shift by %d of %d bits", i.Imm, bits)
		}
	}
	if reg {
		return clean(int(i.Off), int(i.Imm))
	}
	return clean(int(i.Off), int(i.Src))
}

// bits is the operand size of an ALU instruction.
func (i Insn) bits() int32 {
	if i.Class() == ClassAlu64 {
		return 64
	}
	return 32
}

func checkJmp(i Insn) string {
	op, reg, short := i.Op&OpMask, i.Op&SrcMask == SrcX, i.Class() == ClassJmp32
	switch {
	case op == JmpA && !reg && short:
		return clean(int(i.Dst), int(i.Src), int(i.Off))
	case op == JmpA && !reg:
		return clean(int(i.Dst), int(i.Src), int(i.Imm))
	case i.IsExit():
		return clean(int(i.Dst), int(i.Src), int(i.Off), int(i.Imm))
	case i.IsCall():
		return checkCall(i)
	case op == JmpA, op == JmpCall, op == JmpExit, op > JmpSle:
		return unknown(i)
	case reg:
		return clean(int(i.Imm))
	}
	return clean(int(i.Src))
}

func checkCall(i Insn) string {
	if i.Src != CallHelper && i.Src != CallFunc {
		return fmt.Sprintf("no such call: %d", i.Src)
	}
	return clean(int(i.Dst), int(i.Off))
}

// writesR10 reports whether the instruction would change the frame pointer R10.
func (i Insn) writesR10() bool {
	switch class := i.Class(); class {
	case ClassAlu, ClassAlu64, ClassLdx, ClassLd:
		return i.Dst == R10
	case ClassStx:
		if i.Op&ModeMask != ModeAtomic {
			return false
		}
		if i.Imm == AtomicLoad {
			return i.Dst == R10
		}
		return i.Src == R10 && i.Imm&AtomicFetch != 0 && i.Imm != AtomicCmpXchg
	}
	return false
}
