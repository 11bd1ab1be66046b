package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

const pcOffset = 16 * 8 // rip in struct user_regs_struct

// GetRegs reads a stopped task's general registers.
func GetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_GETREGS", task, requestAt(unix.PTRACE_GETREGS, task, 0, unsafe.Pointer(r)))
}

// SetRegs replaces a stopped task's general registers.
func SetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_SETREGS", task, requestAt(unix.PTRACE_SETREGS, task, 0, unsafe.Pointer(r)))
}

// GetPC reads a stopped task's program counter alone.
func GetPC(task int) (pc arch.Addr, err error) {
	errno := requestAt(unix.PTRACE_PEEKUSR, task, pcOffset, unsafe.Pointer(&pc))
	return pc, failed("PTRACE_PEEKUSER", task, errno)
}

// SetPC replaces a stopped task's program counter alone.
func SetPC(task int, pc arch.Addr) error {
	return failed("PTRACE_POKEUSER", task, request(unix.PTRACE_POKEUSR, task, pcOffset, uintptr(pc)))
}

// ThreadPointer is a stopped task's fs base.
func ThreadPointer(task int) (pointer uint64, err error) {
	const fsOffset = 21 * 8 // fs_base in struct user_regs_struct
	errno := requestAt(unix.PTRACE_PEEKUSR, task, fsOffset, unsafe.Pointer(&pointer))
	return pointer, failed("PTRACE_PEEKUSER", task, errno)
}

// PCWord is the program counter's place in arch.Regs. OnePC reports that the kernel can read and
// write the program counter alone. StepsOutlive reports that a program can survive its tracer's
// death in the middle of a single step.
const (
	PCWord       = pcOffset / 8
	OnePC        = true
	StepsOutlive = true
)

// System calls that are watched because of features that only this instruction set has. TimeFaults
// reports that a program can make reads of its time counter fault.
const (
	WatchedPrctl     = uint64(unix.SYS_PRCTL)
	WatchedArchPrctl = uint64(unix.SYS_ARCH_PRCTL)
	TimeFaults       = true
)

// SyscallOf returns the system call that a task is in, and its first argument.
func SyscallOf(r *arch.Regs) (nr int, arg uint64) { return int(int64(r[15])), r[14] }

// NumberOf returns the number of the system call that a task is about to make; the task stands on
// the call's instruction.
func NumberOf(r *arch.Regs) int { return int(int32(r[10])) } // eax

// SyscallArgs returns the arguments that a task on a system call instruction is about to pass.
func SyscallArgs(r *arch.Regs) [6]uint64 {
	return [6]uint64{r[14], r[13], r[12], r[7], r[9], r[8]} // rdi rsi rdx r10 r8 r9
}

// SyscallNumber returns the number of the call that such a task is about to make.
func SyscallNumber(r *arch.Regs) uint64 { return uint64(uint32(r[10])) } // eax

// SyscallReturn changes r to the state after a system call that ended at next.
func SyscallReturn(r *arch.Regs, value uint64, next arch.Addr) {
	r[10], r[11], r[6], r[16] = value, uint64(next), r[18], uint64(next) // rax rcx r11=eflags rip
}

// SyscallWord is the place in arch.Regs that holds a system call's number.
const SyscallWord = 15 // orig_rax
