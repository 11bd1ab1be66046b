// Package arm64 implements package arch for AArch64: the meaning of the registers' words, the
// effect of instructions on the flow of control, code with the same effect elsewhere, and the
// machine code with which a tracee survives its tracer's death.
//
// Everything is a pure function of its arguments. Masks over the 32-bit word recognise instructions
// (decode.go), which the other files analyse further. There is no I/O, no system call, no build
// tag, no unsafe: the package works the same on every machine. It imports only package arch and the
// standard library's encodings.
//
// It sees one instruction at a time, and so can't handle two cases: a paciasp behind pacm
// (FEAT_PAuth_LR) signs with its own address, and guarded control stacks (FEAT_GCS) require a real
// bl. Neither is in use on Linux today.
package arm64

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

// ISA is AArch64, in 64-bit little-endian Linux.
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

// The number 31 in an instruction's register field is the zero register, or in an address the stack
// pointer.
const zr = 31

// Bits of the word pstate.
const (
	flagN = 1 << 31
	flagZ = 1 << 30
	flagC = 1 << 29
	flagV = 1 << 28
	// pstateBType is set after an indirect branch, for the bti that must follow.
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

// DwarfReg knows x0 to x30, and sp (DWARF for the Arm 64-bit Architecture, 4.1).
func (isa) DwarfReg(n int) (word int, ok bool) { return n, n >= 0 && n <= regSP }

func (isa) ReturnAddr(v uint64) uint64 { return v & (1<<48 - 1) }

func (isa) UContextPC() int { return 55 } // asm/ucontext.h, asm/sigcontext.h

// UserState examines pstate; the second word has no meaning.
func (isa) UserState(first, _ uint64) bool {
	const mode = 0x1f // 0: EL0, of 64 bits
	return first&mode == 0 && first>>32 == 0
}

// argRegs is how many arguments a convention passes in x0 and the registers behind it: AAPCS64, and
// Go (cmd/compile/abi-internal.md). The rest are on the stack.
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

// read returns the value that an instruction reads from the register in field n, with 31 as zero.
func read(r *arch.Regs, n uint32) uint64 {
	if n == zr {
		return 0
	}
	return r[n]
}
