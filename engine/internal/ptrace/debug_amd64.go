package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// debugOffset is u_debugreg in struct user (sys/user.h).
const debugOffset = 848

// DebugBefore reports whether a data access is reported before it happens, so that the tracer must
// step over it with the register off.
const DebugBefore = false

// TakeResume clears the flag in r that makes its task execute the next instruction without another
// debug register's report, and reports whether it was set. It is RF of the flags: a signal handler
// that continues there by other means than sigreturn loses it.
func TakeResume(r *arch.Regs) bool {
	const eflags, rf = 18, 1 << 16 // struct user_regs_struct (sys/user.h); asm/processor-flags.h
	was := r[eflags]&rf != 0
	r[eflags] &^= rf
	return was
}

func pokeDebug(task, n int, v uint64) error {
	return failed("PTRACE_POKEUSER", task, request(unix.PTRACE_POKEUSR, task, debugOffset+8*uintptr(n), uintptr(v)))
}

// SetDebug sets all debug registers of a stopped task.
func SetDebug(task int, regs *[MaxDebug]Debug) error {
	const control = 7
	// First all are switched off: the kernel checks addresses against the enabled registers.
	if err := pokeDebug(task, control, 0); err != nil {
		return err
	}
	var dr7 uint64
	lengths := map[int]uint64{1: 0, 2: 1, 4: 3, 8: 2}
	kinds := [...]uint64{DebugExecute: 0, DebugWrite: 1, DebugReadWrite: 3}
	for i, r := range regs {
		if r.Kind == DebugOff {
			continue
		}
		if err := pokeDebug(task, i, uint64(r.Addr)); err != nil {
			return err
		}
		n := r.Len
		if r.Kind == DebugExecute {
			n = 1
		}
		dr7 |= 1<<(2*i) | kinds[r.Kind]<<(16+4*i) | lengths[n]<<(18+4*i)
	}
	if dr7 == 0 {
		return nil
	}
	return pokeDebug(task, control, dr7)
}

// DebugHit returns which debug registers made a stopped task trap, as bits, and clears them in the
// task.
func DebugHit(task int, _ *SigInfo, _ *[MaxDebug]Debug) (bits uint8, err error) {
	const status = 6
	var v uint64
	errno := requestAt(unix.PTRACE_PEEKUSR, task, debugOffset+8*status, unsafe.Pointer(&v))
	if errno != 0 {
		return 0, failed("PTRACE_PEEKUSER", task, errno)
	}
	if v&0xf == 0 {
		return 0, nil
	}
	return uint8(v & 0xf), pokeDebug(task, status, 0)
}
