// Package amd64 implements package arch for x86-64 in 64-bit mode: the meaning of registers, the
// length and target of instructions, code with the same effect elsewhere, and hand-written machine
// code that runs a system call in a tracee, or lets it outlive its tracer.
//
// Everything is a pure function of its arguments: no I/O, no build tags, nothing that depends on
// the machine that runs the code, so that it works and is tested on any host. It imports package
// arch and nothing else of the module.
//
// The decoder follows the CPU, not a disassembler: it knows formats, not mnemonics. An unassigned
// opcode, in a map with a regular format, gets the map's length; it faults in a slot as it would in
// place.
package amd64

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

// ISA is the x86-64 instruction set.
var ISA arch.ISA = isa{}

type isa struct{}

// The words of arch.Regs: struct user_regs_struct.
const (
	regR15 = iota
	regR14
	regR13
	regR12
	regRBP
	regRBX
	regR11
	regR10
	regR9
	regR8
	regRAX
	regRCX
	regRDX
	regRSI
	regRDI
	regOrigRAX
	regRIP
	regCS
	regEFlags
	regRSP
	regSS
	regFSBase
	regGSBase
	regDS
	regES
	regFS
	regGS
	numRegs
)

var regNames = []string{
	"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8",
	"rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags",
	"rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
}

// encoded maps a register's number in instructions to its word.
var encoded = [16]int{
	regRAX, regRCX, regRDX, regRBX, regRSP, regRBP, regRSI, regRDI,
	regR8, regR9, regR10, regR11, regR12, regR13, regR14, regR15,
}

// Registers' numbers in instructions. Those of rsp and rbp have another meaning as base or index in
// ModRM or SIB.
const (
	numRCX = 1
	numRSP = 4
	numRBP = 5
)

// argRegs are the registers of integer arguments in the System V calling convention and in Go's
// (cmd/compile/abi-internal.md).
var argRegs = [...][]int{
	arch.C:           {regRDI, regRSI, regRDX, regRCX, regR8, regR9},
	arch.GoRegisters: {regRAX, regRBX, regRCX, regRDI, regRSI, regR8, regR9, regR10, regR11},
	arch.NotKnown:    nil,
}

func (isa) Name() string         { return "amd64" }
func (isa) Machine() elf.Machine { return elf.EM_X86_64 }

func (isa) NumRegs() int       { return numRegs }
func (isa) RegNames() []string { return append([]string(nil), regNames...) }
func (isa) PCReg() int         { return regRIP }
func (isa) SPReg() int         { return regRSP }

func (isa) FPReg() int   { return regRBP }
func (isa) LinkReg() int { return -1 }

// dwarf maps a register's number in DWARF to its word (System V ABI, figure 3.36).
var dwarf = [17]int{
	regRAX, regRDX, regRCX, regRBX, regRSI, regRDI, regRBP, regRSP,
	regR8, regR9, regR10, regR11, regR12, regR13, regR14, regR15, regRIP,
}

func (isa) DwarfReg(n int) (word int, ok bool) {
	if n < 0 || n >= len(dwarf) {
		return 0, false
	}
	return dwarf[n], true
}

func (isa) ReturnAddr(v uint64) uint64 { return v }

func (isa) UContextPC() int { return 21 } // asm/ucontext.h, asm/sigcontext.h

// UserState examines eflags and the segments.
func (isa) UserState(first, second uint64) bool {
	const userCS, fixed = 0x33, 2 // bit 1 of eflags is always set
	return second&0xffff == userCS && first&fixed != 0 && first>>32 == 0
}

func (isa) ArgReg(c arch.Convention, i int) (word int, ok bool) {
	regs := argRegs[c]
	if i < 0 || i >= len(regs) {
		return 0, false
	}
	return regs[i], true
}

func (i isa) Arg(c arch.Convention, r *arch.Regs, n int) (uint64, bool) {
	word, ok := i.ArgReg(c, n)
	if !ok {
		return 0, false
	}
	return r[word], true
}

func (isa) Result(r *arch.Regs) uint64 { return r[regRAX] }

func (isa) Trap() []byte { return []byte{opInt3} }

// IsTrap also accepts the two-byte int 3 and int1, which no tracer plants but programs may contain.
func (isa) IsTrap(code []byte) bool {
	switch {
	case len(code) >= 1 && (code[0] == opInt3 || code[0] == opInt1):
		return true
	case len(code) >= 2 && code[0] == opIntN && code[1] == 3:
		return true
	}
	return false
}

// TrapPC undoes the step that int3 makes before the kernel handles it.
func (isa) TrapPC(pc arch.Addr) arch.Addr { return pc - 1 }

func (isa) MinInst() int { return 1 }
func (isa) MaxInst() int { return maxInst }
