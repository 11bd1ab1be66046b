package ptrace

import (
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"golang.org/x/sys/unix"
)

const pcOffset = 16 * 8 // rip in struct user_regs_struct

// GetRegs reads a stopped task's general registers.
func GetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_GETREGS", task, request(unix.PTRACE_GETREGS, task, 0, uintptr(unsafe.Pointer(r))))
}

// SetRegs replaces a stopped task's general registers.
func SetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_SETREGS", task, request(unix.PTRACE_SETREGS, task, 0, uintptr(unsafe.Pointer(r))))
}

// GetPC reads a stopped task's program counter alone.
func GetPC(task int) (pc arch.Addr, err error) {
	errno := request(unix.PTRACE_PEEKUSR, task, pcOffset, uintptr(unsafe.Pointer(&pc)))
	return pc, failed("PTRACE_PEEKUSER", task, errno)
}

// SetPC replaces a stopped task's program counter alone.
func SetPC(task int, pc arch.Addr) error {
	return failed("PTRACE_POKEUSER", task, request(unix.PTRACE_POKEUSR, task, pcOffset, uintptr(pc)))
}
