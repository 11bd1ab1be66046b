// Package arch says what an instruction set must answer to be probed, and
// holds the words every other package speaks in: Addr, Regs, Buffer.
//
// The answers are in arch/amd64 and arch/arm64, pure functions in files of
// equal names: no build tags, no I/O, nothing that depends on the machine the
// code runs on. Both are compiled and unit-tested everywhere; package arch
// itself imports neither.
package arch

import (
	"debug/elf"
	"fmt"
)

// Addr is an address in a tracee.
type Addr uint64

func (a Addr) String() string { return fmt.Sprintf("%#x", uint64(a)) }

// Words is how many 64-bit words Regs holds: enough for the larger set.
const Words = 34

// Regs is one task's general registers as the kernel lays them out: struct
// user_regs_struct on amd64 (27 words), struct user_pt_regs on arm64 (34).
// An ISA knows which word is what.
type Regs [Words]uint64

// Kind is what an instruction does to the flow of control.
type Kind uint8

const (
	KindOther        Kind = iota // goes on behind itself
	KindNop                      // no effect but going on (nop, endbr64); bti is not one
	KindJump                     // direct jump
	KindBranch                   // direct conditional jump (jcc, loop, jrcxz, b.cond, cbz, tbz)
	KindCall                     // direct call
	KindJumpIndirect             // jump through register or memory
	KindCallIndirect             // call through register or memory
	KindReturn                   // ret in all its forms
	KindSyscall                  // syscall, svc
	KindTrap                     // int3, brk: the program's own trap
	KindInvalid                  // ud2, udf, hlt: never goes on
)

// Inst is what the engine needs to know of one decoded instruction.
type Inst struct {
	Len    int  // bytes
	Kind   Kind // effect on control flow
	Target Addr // of a direct jump, branch or call
	// Table is set for an indirect jump that can be a jump table's: through a
	// register, or memory that is indexed.
	Table bool
	// Data is the address that the instruction computes relative to itself (lea),
	// where that is made for tables of jumps; 0: none.
	Data Addr
	// Faults is set by Run: the instruction may fault.
	Faults bool
	// Follows is set by Run, too: it reads less than a page away from where one before
	// it has read, through the same pointer.
	Follows bool
}

// Reader reads a tracee's memory at addr into buf, whole or not at all.
type Reader func(addr Addr, buf []byte) error

// Fix says what a task is to be shown as when it stands inside a slot.
//
// There are some for each patch, so that they are kept small.
type Fix struct {
	Off int   // PC is at slot + Off
	PC  Addr  // the PC that the program would have had
	SP  int32 // to add to the stack pointer to get the program's own
	// Reg, where it is not negative, is a word of Regs that holds a scratch
	// value at this point and must be given back its value: the 8 bytes at
	// (stack pointer + RegAt).
	RegAt int32
	Reg   int16
	// PCFrom, where it is not 0, is 1 + the word of Regs that holds the PC
	// that the program would have had; PC is then a mask for it (arm64: a call
	// through a register is two instructions in a slot).
	PCFrom int16
	Before bool // the displaced instruction has not had its effect (PC is its own address)
}

// Where is the PC that the program would have had, for a task at f with
// registers r.
func (f Fix) Where(r *Regs) Addr {
	if f.PCFrom == 0 {
		return f.PC
	}
	return Addr(r[f.PCFrom-1]) & f.PC
}

// Slot is a relocated instruction: what Relocate wrote, and how to look at a
// task that is in the middle of it.
type Slot struct {
	Len   int   // bytes of Code used, constants included
	Fixes []Fix // ascending Off; one for every instruction boundary in the slot
}

// CallState is all a stopped task needs to go on as if nothing had happened.
type CallState struct {
	Regs    Regs
	FP      []byte // arm64: NT_PRFPREG as the kernel gives it (528 bytes); amd64: unused
	SigMask uint64 // arm64: the task's blocked signals; amd64: unused
}

// ISA is an instruction set: registers, traps, decoding, relocation.
type ISA interface {
	Name() string         // GOARCH's name
	Machine() elf.Machine // ELF e_machine

	// Registers.
	NumRegs() int                       // words of Regs in use
	RegNames() []string                 // index is the word; the kernel's names
	PCReg() int                         // word that holds the PC
	SPReg() int                         // word that holds the stack pointer
	FPReg() int                         // word that holds the frame pointer, where code keeps one
	LinkReg() int                       // word that holds the return address at a function's entry; -1: the stack does
	DwarfReg(n int) (word int, ok bool) // word that a register's number in DWARF names
	// ReturnAddr is a return address as the CPU goes to it: without the signature that
	// pointer authentication keeps in its upper bits.
	ReturnAddr(v uint64) uint64
	// UContextPC is the word of the kernel's struct ucontext, which lies on the stack of a
	// signal handler, that holds the PC which the signal has interrupted.
	UContextPC() int
	// UserState reports whether the two words behind that PC are those of a task in user mode.
	UserState(first, second uint64) bool
	// ArgReg is the word that holds the i-th argument where a convention passes it in
	// a register: of integers and pointers.
	ArgReg(c Convention, i int) (word int, ok bool)
	Arg(c Convention, r *Regs, i int) (value uint64, ok bool) // its value
	Result(r *Regs) uint64                                    // what a function returns, at its exit

	// Traps.
	Trap() []byte            // the trap instruction we plant
	IsTrap(code []byte) bool // code starts with any trap instruction (int3; brk #any)
	TrapPC(pc Addr) Addr     // address of the trap that left a task at pc
	MinInst() int            // smallest instruction and alignment: 1, 4
	MaxInst() int            // longest instruction: 15, 4

	// Code.

	// Decode decodes the instruction at the start of code, which lies at at.
	Decode(code []byte, at Addr) (Inst, error)
	// Relocate writes to b code that does at b's address what the one
	// instruction at the start of code does at address from, and then goes
	// on at the program's next instruction. It fails with an error that
	// wraps errors.ErrUnsupported if there is no such code.
	Relocate(b *Buffer, code []byte, from Addr) (Slot, error)
	// JumpLen is the length of a jump, MaxJump that of the longest that is
	// planted at a site, with a landing pad in front.
	JumpLen() int
	MaxJump() int
	// Jump is what is planted at from, where there is code, to lead to to: a
	// jump, behind the landing pad that code may start with. It fails with an
	// error that wraps errors.ErrUnsupported if to is out of its reach.
	Jump(code []byte, from, to Addr) ([]byte, error)
	// Puns are the places, lo to hi, to which a jump at from can lead of which
	// only the first own bytes are planted: behind those it is what code, the
	// program's from there on, has. It is not ok where there is none.
	Puns(code []byte, from Addr, own int) (lo, hi Addr, ok bool)
	// FarJump is code that jumps to any address, from any. It uses nothing of the
	// task's.
	FarJump(to Addr) []byte
	// FlagsLive is whether the arithmetic flags may mean something where code begins: it
	// reads them before it sets them, calls, returns or jumps.
	FlagsLive(code []byte) bool
	// Run decodes the instructions at the start of code, which lies at at,
	// up to the one with which they are n bytes or more, or behind which there
	// is nothing but padding: they can be displaced together by a jump. It
	// fails, by an error that says why and wraps errors.ErrUnsupported, if one before
	// the last may not go on behind itself, but for conditional jumps. Those
	// that may fault are marked (Inst.Faults): whoever came back to one behind
	// the first would find the jump's bytes there. A landing pad of indirect
	// branches, where these must find one, takes the next one with it.
	Run(code []byte, at Addr, n int) (list []Inst, err error)
	// RelocateRun is Relocate for all instructions of a run. before, if it is
	// not nil, may write code of its own in front of each: the program's
	// registers are there as they are in front of that one. It is not entered
	// but at its start or where before was called.
	RelocateRun(b *Buffer, code []byte, from Addr, run []Inst, before func(i int) error) (Slot, error)
	// Leaves writes code that goes on behind itself if the jump at the start of
	// code, which lies at from, is going to lead out of a function, and n bytes
	// further if not: if it is not taken, or, of an indirect one, leads into one
	// of the ranges. It keeps all registers, flags and the red zone. It fails
	// with an error that wraps errors.ErrUnsupported if there is no such code.
	Leaves(b *Buffer, code []byte, from Addr, inside [][2]Addr, n int) ([]Fix, error)
	// Next is the address of the instruction executed after the one at the
	// start of code, given the registers before it. It reads memory only
	// for indirect jumps, calls and returns.
	Next(code []byte, at Addr, r *Regs, read Reader) (Addr, error)
	// Exclusive reports whether the instruction at "at" lies inside a
	// load-exclusive/store-exclusive sequence where a trap would make the
	// store fail for ever, and where that sequence starts. code is the
	// function's, at base.
	Exclusive(code []byte, base, at Addr) (start Addr, inside bool)

	// System calls run in a stopped task.

	// SyscallCode writes a stub to b that makes one system call and then, by
	// itself, goes on at st.Regs' PC with exactly st's registers: the tracer
	// may die at any moment. It returns registers to set to start it; the
	// call's result is in Result(regs) at the syscall-exit stop.
	SyscallCode(b *Buffer, st *CallState, nr uint64, args [6]uint64) (Regs, error)
	// RestartPC gives the registers with which a task stopped inside an
	// interrupted system call would go on (what the kernel does at its way
	// back to user mode: PC back on the instruction, number restored). Not
	// in a system call: unchanged.
	Restarted(r *Regs) Regs

	// SyscallSites finds the system call instructions in code, at base, that
	// follow a load of the number nr as a constant within a few instructions: the
	// call ends less than 256 bytes behind the load's start.
	SyscallSites(code []byte, base Addr, nr uint64) []Addr

	// LoadsNumber is whether code starts with an instruction that loads the number of a
	// system call; it is as long as a jump.
	LoadsNumber(code []byte, nr uint64) bool
	// SigactionGate writes code to lie between that instruction and an rt_sigaction
	// call: one about a signal other than SIGTRAP it makes, and one in another process
	// than that with an id while SIGTRAP is blocked, and goes on behind; what is left goes
	// on behind the gate. It keeps all but what system calls change, and amd64's flags,
	// which no compiler keeps over one. It fails with an error that wraps errors.ErrUnsupported
	// if behind is out of reach.
	SigactionGate(b *Buffer, behind Addr, pid int) error

	// TakesNumber is whether code starts with an instruction that makes a function's first
	// argument the number of a system call.
	TakesNumber(code []byte) bool
	// WrapperGate writes code to lie before a system call whose number and first argument
	// are there: an rt_sigaction call about SIGTRAP goes to aside, all others go on
	// behind it. It keeps all registers but amd64's and arm64's flags. It fails with an
	// error that wraps errors.ErrUnsupported if aside is out of reach.
	WrapperGate(b *Buffer, aside Addr) error

	// Guard is the signal handler that lets a tracee outlive its tracer.
	Guard() GuardCode
}

// GuardCode is position-independent machine code of a SIGTRAP handler with
// SA_SIGINFO and SA_RESTORER. It lives, read-execute, in the tracee, with the
// guard header (GuardHeader) directly behind the code at offset Header. At a
// trap of ours that nobody answered it goes on at the resume address of the
// index entry; any other SIGTRAP goes to the handler the program had.
type GuardCode struct {
	Code     []byte
	Handler  int // offset of the handler's entry in Code
	Restorer int // offset of the code for sa_restorer
	Header   int // offset of the header, a multiple of 16, not below len(Code)
}

// Layout of the guard header and of the index chunks it leads to; all words
// are 64-bit little-endian, addresses are the tracee's.
const (
	GuardFirst    = 0  // address of the first index chunk, 0: none
	GuardOld      = 8  // the program's own SIGTRAP handler: SIG_DFL 0, SIG_IGN 1, or an address
	GuardOldMask  = 16 // unused by the handler; kept for whoever cleans up
	GuardOldFlags = 24 // its sa_flags
	GuardSwallow  = 32 // not 0: TRAP_TRACE and TRAP_HWBKPT may be ours: swallow them
	// A note of the thread whose signals its tracer has blocked, while it is stepped:
	// its id, 0: none; its own mask; the signal in the tracer's hands, 0: none, and
	// that one's siginfo. Where a step that nobody takes can be survived the handler
	// gives them back.
	GuardNote     = 64
	GuardNoteMask = 72
	GuardNoteSig  = 80
	GuardNoteInfo = 88
	GuardSize     = 256

	ChunkNext  = 0  // address of the next chunk, 0: last
	ChunkCount = 8  // number of entries
	ChunkHead  = 16 // entries start here

	// One entry: the site's address (0: free), then where to go on.
	EntryAddr   = 0
	EntryResume = 8
	EntrySize   = 16
)
