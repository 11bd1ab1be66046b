package ptrace

import (
	"unsafe"

	"github.com/ptracer/ptracer/arch"
)

const (
	setHwBreak = 0x402 // NT_ARM_HW_BREAK
	setHwWatch = 0x403 // NT_ARM_HW_WATCH
)

// DebugBefore reports whether a data access is reported before it happens, so that the tracer must
// step over it with the register off.
const DebugBefore = true

// TakeResume does something on amd64 only: on arm64 the tracer steps over a reported hit.
func TakeResume(*arch.Regs) bool { return false }

// hwDebug is struct user_hwdebug_state (asm/ptrace.h), for MaxDebug registers.
type hwDebug struct {
	info, _ uint32
	regs    [MaxDebug]struct {
		addr    uint64
		ctrl, _ uint32
	}
}

// SetDebug sets all debug registers of a stopped task.
func SetDebug(task int, regs *[MaxDebug]Debug) error {
	var code, data hwDebug
	for i, r := range regs {
		switch r.Kind {
		case DebugExecute:
			code.regs[i].addr, code.regs[i].ctrl = uint64(r.Addr), 0xf<<5|1
		case DebugWrite, DebugReadWrite:
			kind := uint32(2)
			if r.Kind == DebugReadWrite {
				kind = 3
			}
			data.regs[i].addr = uint64(r.Addr)
			data.regs[i].ctrl = (1<<r.Len-1)<<5 | kind<<3 | 1
		}
	}
	for _, set := range []struct {
		nr uintptr
		d  *hwDebug
	}{{setHwBreak, &code}, {setHwWatch, &data}} {
		if errno := setRegSet(task, set.nr, unsafe.Pointer(set.d), int(unsafe.Sizeof(*set.d))); errno != 0 {
			return failed("PTRACE_SETREGSET debug registers", task, errno)
		}
	}
	return nil
}

// DebugHit returns which debug registers made a stopped task trap, as bits.
func DebugHit(_ int, info *SigInfo, regs *[MaxDebug]Debug) (bits uint8, err error) {
	if info.Code() != CodeHwbkpt {
		return 0, nil
	}
	at := info.Address()
	for i, r := range regs {
		switch {
		case r.Kind == DebugOff:
		case at >= r.Addr && at < r.Addr+arch.Addr(max(r.Len, 1)), r.Kind != DebugExecute && at < r.Addr && at+16 > r.Addr:
			bits |= 1 << i
		}
	}
	return bits, nil
}
