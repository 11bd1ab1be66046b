package amd64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// WrapperStack is how much stack Wrapper's code uses, in bytes, without the helper.
const WrapperStack = 8 * 10

// Wrapper makes code, for address base, that calls a helper and leaves its result in r11; it keeps
// all other registers, but not the flags.
func Wrapper(base, helper arch.Addr) []byte {
	pushes := []byte{0x50, 0x51, 0x52, 0x56, 0x57, 0x41, 0x50, 0x41, 0x51, 0x41, 0x52}     // rax, rcx, rdx, rsi, rdi, r8 to r10
	pops := []byte{0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, 0x5f, 0x5e, 0x5a, 0x59, 0x58, 0xc3} // and ret
	code := append(pushes, 0xe8)
	to := int64(helper) - int64(base) - int64(len(code)) - 4
	code = binary.LittleEndian.AppendUint32(code, uint32(to))
	code = append(code, 0x49, 0x89, 0xc3) // mov r11, rax
	return append(code, pops...)
}
