package contender

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// withTrap returns a word of code that starts with brk #0.
func withTrap(code uint64) uint64 { return code&^0xffffffff | 0xd4200000 }

// trapPC is the PC of a thread at a trap.
func trapPC(site uint64) uint64 { return site }

func pcOf(r *unix.PtraceRegs) uint64     { return r.Pc }
func setPC(r *unix.PtraceRegs, v uint64) { r.Pc = v }

func getRegs(tid int, r *unix.PtraceRegs) error { return regset(unix.PTRACE_GETREGSET, tid, r) }
func setRegs(tid int, r *unix.PtraceRegs) error { return regset(unix.PTRACE_SETREGSET, tid, r) }

// regset reads or sets NT_PRSTATUS.
func regset(what, tid int, r *unix.PtraceRegs) error {
	const general = 1
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(unsafe.Sizeof(*r))}
	return requestAt(what, tid, general, unsafe.Pointer(&v))
}

// movePC moves a thread at the site's trap; there is no request for the PC alone.
func movePC(tid int, site, to uint64) bool {
	var r unix.PtraceRegs
	if getRegs(tid, &r) != nil || pcOf(&r) != trapPC(site) {
		return false
	}
	setPC(&r, to)
	return setRegs(tid, &r) == nil
}

// breakpointLen is the length that the kernel requires for an execution breakpoint: that of an
// instruction.
const breakpointLen = 4
