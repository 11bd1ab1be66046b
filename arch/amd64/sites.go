package amd64

import (
	"bytes"

	"github.com/ptracer/ptracer/arch"
)

// loadToCall is the largest number of instructions between the load of a system call's number and
// the call: there may be loads of arguments, and the check of the stack protector.
const loadToCall = 12

// SyscallSites implements arch.ISA: mov $nr, %eax, then syscall without a branch in between.
func (i isa) SyscallSites(code []byte, base arch.Addr, nr uint64) (at []arch.Addr) {
	load := []byte{0xb8, byte(nr), byte(nr >> 8), byte(nr >> 16), byte(nr >> 24)}
	for from := 0; ; {
		k := bytes.Index(code[from:], load)
		if k < 0 {
			return at
		}
		from += k + len(load)
		if call, ok := i.callBehind(code[from:], base+arch.Addr(from)); ok && (len(at) == 0 || at[len(at)-1] != call) {
			at = append(at, call)
		}
	}
}

func (i isa) callBehind(code []byte, at arch.Addr) (arch.Addr, bool) {
	for range loadToCall {
		if len(code) < 2 {
			return 0, false
		}
		inst, err := i.Decode(code[:min(len(code), 15)], at)
		if err != nil || inst.Len > len(code) {
			return 0, false
		}
		switch inst.Kind {
		case arch.KindSyscall:
			return at, code[0] == 0x0f && code[1] == 0x05
		case arch.KindOther, arch.KindNop, arch.KindBranch:
		default:
			return 0, false
		}
		code, at = code[inst.Len:], at+arch.Addr(inst.Len)
	}
	return 0, false
}
