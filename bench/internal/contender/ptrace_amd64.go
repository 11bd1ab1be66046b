package contender

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ripAt is the offset of the PC in struct user (sys/user.h).
const ripAt = 16 * 8

// withTrap returns a word of code that starts with int3.
func withTrap(code uint64) uint64 { return code&^0xff | 0xcc }

// trapPC is the PC of a thread behind a trap.
func trapPC(site uint64) uint64 { return site + 1 }

func pcOf(r *unix.PtraceRegs) uint64     { return r.Rip }
func setPC(r *unix.PtraceRegs, v uint64) { r.Rip = v }

func getRegs(tid int, r *unix.PtraceRegs) error {
	return requestAt(unix.PTRACE_GETREGS, tid, 0, unsafe.Pointer(r))
}

func setRegs(tid int, r *unix.PtraceRegs) error {
	return requestAt(unix.PTRACE_SETREGS, tid, 0, unsafe.Pointer(r))
}

// movePC moves a thread at the site's trap, with two requests.
func movePC(tid int, site, to uint64) bool {
	var pc uint64
	return requestAt(unix.PTRACE_PEEKUSR, tid, ripAt, unsafe.Pointer(&pc)) == nil && pc == trapPC(site) &&
		request(unix.PTRACE_POKEUSR, tid, ripAt, uintptr(to)) == nil
}

// breakpointLen is the length that the kernel requires for an execution breakpoint: that of a long
// (arch_parse_hw_breakpoint, arch/x86/kernel/hw_breakpoint.c).
const breakpointLen = 8
