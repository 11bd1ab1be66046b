package program

// Insn is one eBPF instruction of 8 bytes, with the kernel's fields (struct bpf_insn, RFC 9669). A
// load of 64 bits takes two.
type Insn struct {
	Op  uint8
	Dst uint8 // 0 to 10
	Src uint8
	Off int16
	Imm int32
}

// Parts of Op.
const (
	// Classes, by mask ClassMask.
	ClassMask  = 0x07
	ClassLd    = 0x00
	ClassLdx   = 0x01
	ClassSt    = 0x02
	ClassStx   = 0x03
	ClassAlu   = 0x04 // 32 bits
	ClassJmp   = 0x05
	ClassJmp32 = 0x06
	ClassAlu64 = 0x07

	// The second operand of ALU and JMP: the immediate or a register.
	SrcMask = 0x08
	SrcK    = 0x00
	SrcX    = 0x08

	// Operations, by mask OpMask. ALU:
	OpMask  = 0xf0
	AluAdd  = 0x00
	AluSub  = 0x10
	AluMul  = 0x20
	AluDiv  = 0x30 // signed with Off 1
	AluOr   = 0x40
	AluAnd  = 0x50
	AluLsh  = 0x60
	AluRsh  = 0x70
	AluNeg  = 0x80
	AluMod  = 0x90 // signed with Off 1
	AluXor  = 0xa0
	AluMov  = 0xb0 // sign extension with Off 8, 16, 32
	AluArsh = 0xc0
	AluEnd  = 0xd0 // in ClassAlu SrcK to little endian, SrcX to big; in ClassAlu64 always swap

	// JMP:
	JmpA    = 0x00 // in ClassJmp by Off, in ClassJmp32 by Imm
	JmpEq   = 0x10
	JmpGt   = 0x20
	JmpGe   = 0x30
	JmpSet  = 0x40
	JmpNe   = 0x50
	JmpSgt  = 0x60
	JmpSge  = 0x70
	JmpCall = 0x80
	JmpExit = 0x90
	JmpLt   = 0xa0
	JmpLe   = 0xb0
	JmpSlt  = 0xc0
	JmpSle  = 0xd0

	// Sizes of loads and stores, by mask SizeMask.
	SizeMask = 0x18
	SizeW    = 0x00
	SizeH    = 0x08
	SizeB    = 0x10
	SizeDW   = 0x18

	// Modes of loads and stores, by mask ModeMask.
	ModeMask   = 0xe0
	ModeImm    = 0x00 // with ClassLd, SizeDW: a load of 64 bits
	ModeMem    = 0x60
	ModeMemSX  = 0x80
	ModeAtomic = 0xc0 // ClassStx, SizeW and SizeDW

	// Atomic operations, in Imm: one of ALU's Add, Or, And, Xor, or one of these; AtomicFetch sets
	// Src to the old value.
	AtomicFetch   = 0x01
	AtomicXchg    = 0xe1
	AtomicCmpXchg = 0xf1  // R0 is compared, and becomes the old value
	AtomicLoad    = 0x100 // load-acquire, any size: Dst from Src
	AtomicStore   = 0x110 // store-release, any size

	// Src of a 64-bit load: the meaning of Imm.
	PseudoNone     = 0
	PseudoMap      = 1 // index into Program.Maps: the map itself
	PseudoMapValue = 2 // the same, first Imm the map, second an offset into its only value
	PseudoFunc     = 4 // relative, as in a call: instructions from the next one; for bpf_loop and similar helpers

	// Src of a call.
	CallHelper = 0
	CallFunc   = 1 // Imm is relative to the next instruction
)

// Registers.
const (
	R0 = iota // results
	R1        // first argument; the context at the start
	R2
	R3
	R4
	R5
	R6 // calls keep R6 to R9
	R7
	R8
	R9
	R10 // end of the stack frame, read only
	NumRegs
)

// StackSize is the size of a function's stack frame, in bytes; MaxFrames is how deep calls may
// nest.
const (
	StackSize = 512
	MaxFrames = 8
)

// Class returns the instruction's class.
func (i Insn) Class() uint8 { return i.Op & ClassMask }

// Wide reports whether the instruction is the first half of a 64-bit load.
func (i Insn) Wide() bool { return i.Op == ClassLd|SizeDW|ModeImm }

// Size returns how many bytes a load or store moves.
func (i Insn) Size() int {
	switch i.Op & SizeMask {
	case SizeW:
		return 4
	case SizeH:
		return 2
	case SizeB:
		return 1
	}
	return 8
}

// IsJump reports whether the instruction is a jump, conditional or not, and not a
// call or exit.
func (i Insn) IsJump() bool {
	c, op := i.Class(), i.Op&OpMask
	return (c == ClassJmp || c == ClassJmp32) && op != JmpCall && op != JmpExit
}

// IsCall reports whether the instruction calls a helper or function.
func (i Insn) IsCall() bool { return i.Op == ClassJmp|JmpCall }

// IsExit reports whether the instruction ends the function.
func (i Insn) IsExit() bool { return i.Op == ClassJmp|JmpExit }

// Always reports whether a jump has no condition.
func (i Insn) Always() bool { return i.IsJump() && i.Op&OpMask == JmpA }

// Target returns where the jump at index at leads, an index into Program.Insns.
func (i Insn) Target(at int) int {
	if i.Op == ClassJmp32|JmpA {
		return at + 1 + int(i.Imm)
	}
	return at + 1 + int(i.Off)
}
