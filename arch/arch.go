// Package arch defines what an instruction set must provide to be probed, and the types that all
// other packages use: Addr, Regs, Buffer.
//
// The implementations are in arch/amd64 and arch/arm64, pure functions in files with equal names:
// no build tags, no I/O, nothing that depends on the machine that runs the code. Both are compiled
// and unit-tested on every machine; package arch itself imports neither.
package arch

import (
	"debug/elf"
	"fmt"
)

// Addr is an address in a tracee.
type Addr uint64

func (a Addr) String() string { return fmt.Sprintf("%#x", uint64(a)) }

// Words is how many 64-bit words Regs holds: enough for the larger set of registers.
const Words = 34

// Regs has one task's general registers in the kernel's layout: struct user_regs_struct on amd64
// (27 words), struct user_pt_regs on arm64 (34). An ISA knows the meaning of each word.
type Regs [Words]uint64

// Kind is the effect of an instruction on the flow of control.
type Kind uint8

const (
	KindOther        Kind = iota // continues at the next instruction
	KindNop                      // no other effect (nop, endbr64); bti is not one
	KindJump                     // direct jump
	KindBranch                   // direct conditional jump (jcc, loop, jrcxz, b.cond, cbz, tbz)
	KindCall                     // direct call
	KindJumpIndirect             // jump through register or memory
	KindCallIndirect             // call through register or memory
	KindReturn                   // ret in all its forms
	KindSyscall                  // syscall, svc
	KindTrap                     // int3, brk: the program's own trap
	KindInvalid                  // ud2, udf, hlt: never continues
)

// Inst is what the engine uses of a decoded instruction.
type Inst struct {
	Len    int  // bytes
	Kind   Kind // effect on control flow
	Target Addr // of a direct jump, branch or call
	// Table is set for an indirect jump that may use a jump table: through a register, or through
	// indexed memory.
	Table bool
	// Data is the address that the instruction computes relative to itself (lea), in a form that is
	// used for jump tables; 0: none.
	Data Addr
	// Faults is set by Run: the instruction may fault.
	Faults bool
	// Follows is also set by Run: the instruction reads less than a page away from an earlier read
	// of the run through the same pointer.
	Follows bool
}

// Reader reads a tracee's memory at addr into buf, whole or not at all.
type Reader func(addr Addr, buf []byte) error

// Fix says how to show a task that is inside a slot.
//
// Each patch has several, so that a Fix is kept small.
type Fix struct {
	Off int   // PC is at slot + Off
	PC  Addr  // the PC that the program would have had
	SP  int32 // to add to the stack pointer to get the program's
	// Reg, if it is not negative, is a word of Regs with a scratch value at this point. Its own
	// value is in the 8 bytes at (stack pointer + RegAt), to be restored.
	RegAt int32
	Reg   int16
	// PCFrom, if it is not 0, is 1 + the word of Regs that holds the PC that the program would have
	// had; PC is then a mask for it (arm64: a call through a register is two instructions in a
	// slot).
	PCFrom int16
	Before bool // the displaced instruction has had no effect yet (PC is its own address)
}

// Where returns the PC that the program would have had, for a task at f with registers r.
func (f Fix) Where(r *Regs) Addr {
	if f.PCFrom == 0 {
		return f.PC
	}
	return Addr(r[f.PCFrom-1]) & f.PC
}

// Slot describes a relocated instruction: the code that Relocate has written, and how to show a
// task that is in the middle of it.
type Slot struct {
	Len   int   // bytes of code, including constants
	Fixes []Fix // ascending Off; one for every instruction boundary in the slot
}

// CallState is the state with which a stopped task continues as if nothing had happened.
type CallState struct {
	Regs    Regs
	FP      []byte // arm64: NT_PRFPREG in the kernel's layout (528 bytes); amd64: unused
	SigMask uint64 // arm64: the task's blocked signals; amd64: unused
}

// ISA is an instruction set: registers, traps, decoding, relocation.
type ISA interface {
	Name() string         // GOARCH's name
	Machine() elf.Machine // ELF e_machine

	// Registers.
	NumRegs() int                       // words of Regs in use
	RegNames() []string                 // the kernel's names, by word
	PCReg() int                         // word that holds the PC
	SPReg() int                         // word that holds the stack pointer
	FPReg() int                         // word that holds the frame pointer, in code that has one
	LinkReg() int                       // word that holds the return address at a function's entry; -1: the stack does
	DwarfReg(n int) (word int, ok bool) // word of the register with a DWARF number
	// ReturnAddr returns the address that the CPU returns to: without the signature that pointer
	// authentication keeps in the upper bits.
	ReturnAddr(v uint64) uint64
	// UContextPC is the word of the kernel's struct ucontext, on the stack of a signal handler,
	// with the PC that the signal has interrupted.
	UContextPC() int
	// UserState reports whether the two words behind that PC belong to a task in user mode.
	UserState(first, second uint64) bool
	// ArgReg returns the word with the i-th argument, an integer or pointer, if a convention passes
	// it in a register.
	ArgReg(c Convention, i int) (word int, ok bool)
	Arg(c Convention, r *Regs, i int) (value uint64, ok bool) // its value
	Result(r *Regs) uint64                                    // a function's result, at its exit

	// Traps.
	Trap() []byte            // the trap instruction that ptracer plants
	IsTrap(code []byte) bool // code starts with any trap instruction (int3; brk #any)
	TrapPC(pc Addr) Addr     // address of the trap that left a task at pc
	MinInst() int            // smallest instruction and alignment: 1, 4
	MaxInst() int            // longest instruction: 15, 4

	// Code.

	// Decode decodes the instruction at the start of code, which is at address at.
	Decode(code []byte, at Addr) (Inst, error)
	// Relocate writes code to b with the effect, at b's address, of the one instruction at the
	// start of code at address from; the code then continues at the program's next instruction. It
	// returns an error that wraps errors.ErrUnsupported if there is no such code.
	Relocate(b *Buffer, code []byte, from Addr) (Slot, error)
	// JumpLen is the length of a jump, MaxJump that of the longest patch with a jump, which has a
	// landing pad in front; both in bytes.
	JumpLen() int
	MaxJump() int
	// Jump returns the patch for address from, where code is, that leads to address to: a jump,
	// behind the landing pad that code may start with. It returns an error that wraps
	// errors.ErrUnsupported if to is out of reach.
	Jump(code []byte, from, to Addr) ([]byte, error)
	// Puns returns the range, lo to hi, of the targets of a jump at from with only own bytes
	// planted: the bytes behind those are the program's, as code, the program's bytes from there
	// on, has them. ok is false if there are none.
	Puns(code []byte, from Addr, own int) (lo, hi Addr, ok bool)
	// FarJump returns code that jumps from any address to any other, without using the task's
	// registers or memory.
	FarJump(to Addr) []byte
	// FlagsLive reports whether the code may depend on the arithmetic flags at its start: it reads
	// them, calls, returns or jumps before it sets them.
	FlagsLive(code []byte) bool
	// Run decodes the instructions at the start of code, which is at address at, up to the one with
	// which they have n bytes or more, or behind which there is only padding: a jump can displace
	// them together. It returns an error that says why and wraps errors.ErrUnsupported if an
	// instruction before the last may not continue behind itself; conditional jumps are allowed.
	// Instructions that may fault are marked (Inst.Faults): a task that returned to one behind the
	// first would find the jump's bytes. A landing pad that indirect branches must find is in one
	// run with the next instruction.
	Run(code []byte, at Addr, n int) (list []Inst, err error)
	// RelocateRun is Relocate for all instructions of a run. before, if not nil, may write code of
	// its own in front of each instruction; the program's registers there are those in front of the
	// instruction. The code is entered only at its start, or where before was called.
	RelocateRun(b *Buffer, code []byte, from Addr, run []Inst, before func(i int) error) (Slot, error)
	// Leaves writes code for the jump at the start of code, which is at address from. The code
	// continues behind itself if the jump leads out of a function, and n bytes further on if not:
	// if the jump is not taken, or is indirect and leads into one of the ranges. It keeps all
	// registers, flags and the red zone. It returns an error that wraps errors.ErrUnsupported if
	// there is no such code.
	Leaves(b *Buffer, code []byte, from Addr, inside [][2]Addr, n int) ([]Fix, error)
	// Next returns the address of the instruction executed after the one at the start of code, for
	// the given registers before it. It reads memory only for indirect jumps, calls and returns.
	Next(code []byte, at Addr, r *Regs, read Reader) (Addr, error)
	// Exclusive reports whether the instruction at "at" lies inside a
	// load-exclusive/store-exclusive sequence where a trap would make the
	// store fail for ever, and where that sequence starts. code is the
	// function's, at base.
	Exclusive(code []byte, base, at Addr) (start Addr, inside bool)

	// System calls in a stopped task.

	// SyscallCode writes a stub to b that makes one system call and then, by itself, continues at
	// st.Regs' PC with exactly st's registers, so that the tracer may die at any moment. It returns
	// the registers that start the stub; the call's result is in Result(regs) at the syscall-exit
	// stop.
	SyscallCode(b *Buffer, st *CallState, nr uint64, args [6]uint64) (Regs, error)
	// Restarted returns the registers with which a task stopped inside an interrupted system call
	// would continue (the work of the kernel on the way back to user mode: PC back on the
	// instruction, number restored). If the task is not in a system call they are unchanged.
	Restarted(r *Regs) Regs

	// SyscallSites finds the system call instructions in code, at base, that follow a load of the
	// number nr as a constant within a few instructions: a call ends less than 256 bytes behind the
	// load's start.
	SyscallSites(code []byte, base Addr, nr uint64) []Addr

	// LoadsNumber reports whether code starts with an instruction that loads nr as the number of a
	// system call, and that is as long as a jump.
	LoadsNumber(code []byte, nr uint64) bool
	// SigactionGate writes code for a place between that instruction and an rt_sigaction call. A
	// call about a signal other than SIGTRAP, and a call in another process than pid while SIGTRAP
	// is blocked, it makes itself, and then continues at behind. Any other call continues behind
	// the gate. The gate keeps everything except what system calls change and amd64's flags, which
	// no compiler keeps across one. It returns an error that wraps errors.ErrUnsupported if behind
	// is out of reach.
	SigactionGate(b *Buffer, behind Addr, pid int) error

	// TakesNumber reports whether code starts with an instruction that makes a function's first
	// argument the number of a system call.
	TakesNumber(code []byte) bool
	// WrapperGate writes code for a place before a system call, with the call's number and first
	// argument set. An rt_sigaction call about SIGTRAP continues at aside, any other behind the
	// gate. It keeps all registers except the flags. It returns an error that wraps
	// errors.ErrUnsupported if aside is out of reach.
	WrapperGate(b *Buffer, aside Addr) error

	// Guard is the signal handler that lets a tracee outlive its tracer.
	Guard() GuardCode
}

// GuardCode is position-independent machine code of a SIGTRAP handler with SA_SIGINFO and
// SA_RESTORER. It is in the tracee, read-execute, with the guard header (GuardHeader) directly
// behind the code at offset Header. At a trap of ptracer's that no tracer handles, it continues at
// the resume address of the index entry. Any other SIGTRAP goes to the handler that the program
// had.
type GuardCode struct {
	Code     []byte
	Handler  int // offset of the handler's entry in Code
	Restorer int // offset of the code for sa_restorer
	Header   int // offset of the header, a multiple of 16, not below len(Code)
}

// Layout of the guard header and of the index chunks that it leads to. All words are 64-bit
// little-endian, addresses are the tracee's.
const (
	GuardFirst    = 0  // address of the first index chunk, 0: none
	GuardOld      = 8  // the program's own SIGTRAP handler: SIG_DFL 0, SIG_IGN 1, or an address
	GuardOldMask  = 16 // unused by the handler; kept for cleaning up
	GuardOldFlags = 24 // its sa_flags
	GuardSwallow  = 32 // not 0: TRAP_TRACE and TRAP_HWBKPT may be ptracer's: swallow them
	// A note of the thread with signals that its tracer has blocked, while it is stepped: its id,
	// 0: none; its own mask; the signal that the tracer holds, 0: none, and that signal's siginfo.
	// On an instruction set where a program survives a step without a tracer, the handler restores
	// them.
	GuardNote     = 64
	GuardNoteMask = 72
	GuardNoteSig  = 80
	GuardNoteInfo = 88
	GuardSize     = 256

	ChunkNext  = 0  // address of the next chunk, 0: last
	ChunkCount = 8  // number of entries
	ChunkHead  = 16 // entries start here

	// One entry: the site's address (0: free), then the address to continue at.
	EntryAddr   = 0
	EntryResume = 8
	EntrySize   = 16
)
