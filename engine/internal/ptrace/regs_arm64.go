package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

const (
	setGeneral = 1      // NT_PRSTATUS
	regsSize   = 34 * 8 // struct user_pt_regs
	pcWord     = 32
)

// GetRegs reads a stopped task's general registers.
func GetRegs(task int, r *arch.Regs) error {
	n := regsSize
	return failed("PTRACE_GETREGSET", task, getRegSet(task, setGeneral, unsafe.Pointer(r), &n))
}

// SetRegs replaces a stopped task's general registers.
func SetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_SETREGSET", task, setRegSet(task, setGeneral, unsafe.Pointer(r), regsSize))
}

// GetPC reads a stopped task's program counter; arm64 has no request for one register.
func GetPC(task int) (arch.Addr, error) {
	var r arch.Regs
	err := GetRegs(task, &r)
	return arch.Addr(r[pcWord]), err
}

// SetPC replaces a stopped task's program counter and keeps the rest.
func SetPC(task int, pc arch.Addr) error {
	var r arch.Regs
	if err := GetRegs(task, &r); err != nil {
		return err
	}
	r[pcWord] = uint64(pc)
	return SetRegs(task, &r)
}

// ThreadPointer is a stopped task's tpidr_el0.
func ThreadPointer(task int) (pointer uint64, err error) {
	const setTLS = 0x401 // NT_ARM_TLS
	n := 8
	errno := getRegSet(task, setTLS, unsafe.Pointer(&pointer), &n)
	return pointer, failed("PTRACE_GETREGSET", task, errno)
}

// PCWord is the program counter's place in arch.Regs. OnePC reports that the kernel can read and
// write the program counter alone. StepsOutlive reports that a program can survive its tracer's
// death in the middle of a single step.
const (
	PCWord       = pcWord
	OnePC        = false
	StepsOutlive = false
)

// System calls that are watched because of features that only another instruction set has.
// TimeFaults reports that a program can make reads of its time counter fault.
const (
	WatchedPrctl     = NoCall
	WatchedArchPrctl = NoCall
	TimeFaults       = false
)

// SyscallOf returns the system call that a task is in, and its first argument.
func SyscallOf(r *arch.Regs) (nr int, arg uint64) { return int(int64(r[8])), r[0] }

// NumberOf returns the number of the system call that a task is about to make; the task stands on
// the call's instruction.
func NumberOf(r *arch.Regs) int { return int(int32(r[8])) } // w8

// SyscallArgs returns the arguments that a task on a system call instruction is about to pass.
func SyscallArgs(r *arch.Regs) [6]uint64 { return [6]uint64(r[:6]) }

// SyscallNumber returns the number of the call that such a task is about to make.
func SyscallNumber(r *arch.Regs) uint64 { return uint64(uint32(r[8])) } // w8

// SyscallReturn changes r to the state after a system call that ended at next.
func SyscallReturn(r *arch.Regs, value uint64, next arch.Addr) {
	r[0], r[pcWord] = value, uint64(next)
}

// SyscallWord is the place in arch.Regs that holds a system call's number.
const SyscallWord = 8 // x8

func setRegSet(task int, set uintptr, p unsafe.Pointer, size int) unix.Errno {
	iov := unix.Iovec{Base: (*byte)(p), Len: uint64(size)}
	return requestAt(unix.PTRACE_SETREGSET, task, set, unsafe.Pointer(&iov))
}
