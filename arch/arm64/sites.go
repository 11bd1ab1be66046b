package arm64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// loadToCall is the largest number of instructions between the load of a system call's number and
// the call.
const loadToCall = 12

// SyscallSites implements arch.ISA: movz w8 or x8, #nr, then svc without a branch in between.
func (isa) SyscallSites(code []byte, base arch.Addr, nr uint64) (at []arch.Addr) {
	load := uint32(nr)<<5 | 8
	word := func(off int) uint32 { return binary.LittleEndian.Uint32(code[off:]) }
	for off := 0; off+4 <= len(code); off += 4 {
		if w := word(off); w != 0x52800000|load && w != 0xd2800000|load {
			continue
		}
		for k := off + 4; k+4 <= len(code) && k <= off+4*loadToCall; k += 4 {
			if word(k) == 0xd4000001 { // svc #0
				if call := base + arch.Addr(k); len(at) == 0 || at[len(at)-1] != call {
					at = append(at, call)
				}
				break
			}
		}
	}
	return at
}
