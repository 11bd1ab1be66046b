package amd64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// highest is the end of a program's address space with four levels of page tables.
const highest = 1 << 47

func (isa) Puns(code []byte, from arch.Addr, own int) (lo, hi arch.Addr, ok bool) {
	if own < 1 || own >= jumpLen || len(code) < jumpLen {
		return 0, 0, false
	}
	free := 8 * (own - 1) // bits of the displacement
	fixed := int64(int32(binary.LittleEndian.Uint32(code[1:jumpLen]))) >> free << free
	to := int64(from) + jumpLen + fixed
	return arch.Addr(to), arch.Addr(to) + 1<<free - 1, to > 0 && to < highest
}

// FarJump writes jmp *0(%rip), and the target behind it.
func (isa) FarJump(to arch.Addr) []byte {
	return binary.LittleEndian.AppendUint64([]byte{0xff, 0x25, 0, 0, 0, 0}, uint64(to))
}
