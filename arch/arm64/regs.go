// Package arm64 answers package arch for AArch64: which word of the registers
// means what, what an instruction does to the flow of control, how it is
// written so that it does the same elsewhere, and the machine code that a
// tracee keeps for the day its tracer dies.
//
// Everything is a pure function of its arguments: instructions are recognised
// by masks over the 32-bit word (decode.go), which the other files then take
// apart. No I/O, no system call, no build tag, no unsafe: the package works
// the same on every machine. It imports package arch and the standard
// library's encodings, nothing else.
//
// What it cannot know, because it sees one instruction at a time: a paciasp
// that follows pacm (FEAT_PAuth_LR) signs with its own address, and guarded
// control stacks (FEAT_GCS) want a real bl. Neither is in use on Linux today.
package arm64

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

// ISA is AArch64, as 64-bit little-endian Linux runs it.
var ISA arch.ISA = isa{}

type isa struct{}

func (isa) Name() string         { return "arm64" }
func (isa) Machine() elf.Machine { return elf.EM_AARCH64 }

// Words of arch.Regs: struct user_pt_regs (asm/ptrace.h).
const (
	regX8     = 8  // number of the system call
	regX30    = 30 // return address
	regSP     = 31
	regPC     = 32
	regPState = 33
	numRegs   = 34
)

// The number 31 in an instruction's register field is the zero register, or
// the stack pointer where an address is formed.
const zr = 31

// Bits of the word pstate.
const (
	flagN = 1 << 31
	flagZ = 1 << 30
	flagC = 1 << 29
	flagV = 1 << 28
	// pstateBType remembers an indirect branch for the bti that must follow.
	pstateBType = 3 << 10
)

var regNames = [numRegs]string{
	"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
	"x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22",
	"x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate",
}

func (isa) NumRegs() int       { return numRegs }
func (isa) RegNames() []string { return append([]string(nil), regNames[:]...) }
func (isa) PCReg() int         { return regPC }
func (isa) SPReg() int         { return regSP }

func (isa) FPReg() int   { return 29 }
func (isa) LinkReg() int { return 30 }

// DwarfReg: x0 to x30, and sp (DWARF for the Arm 64-bit Architecture, 4.1).
func (isa) DwarfReg(n int) (word int, ok bool) { return n, n >= 0 && n <= regSP }

func (isa) ReturnAddr(v uint64) uint64 { return v & (1<<48 - 1) }

func (isa) UContextPC() int { return 55 } // asm/ucontext.h, asm/sigcontext.h

// UserState looks at pstate; the second word has no meaning.
func (isa) UserState(first, _ uint64) bool {
	const mode = 0x1f // 0: EL0, of 64 bits
	return first&mode == 0 && first>>32 == 0
}

// argRegs is how many arguments a convention passes in x0 and those behind it: AAPCS64,
// and Go (cmd/compile/abi-internal.md). The rest are on the stack.
var argRegs = [...]int{arch.C: 8, arch.GoRegisters: 16, arch.NotKnown: 0}

func (isa) ArgReg(c arch.Convention, i int) (word int, ok bool) { return i, i >= 0 && i < argRegs[c] }

func (i isa) Arg(c arch.Convention, r *arch.Regs, n int) (uint64, bool) {
	word, ok := i.ArgReg(c, n)
	if !ok {
		return 0, false
	}
	return r[word], true
}

func (isa) Result(r *arch.Regs) uint64 { return r[0] }

// read is the value an instruction reads from the register in field n, where
// 31 is zero.
func read(r *arch.Regs, n uint32) uint64 {
	if n == zr {
		return 0
	}
	return r[n]
}
