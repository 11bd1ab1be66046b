package unwind

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// Words of the kernel's struct ucontext, which it leaves on the stack that a
// signal is handled on (asm/ucontext.h, asm/sigcontext.h).
const (
	ucFlags = 0
	ucLink  = 1
	ucStack = 2 // ss_sp; ss_size is two behind
)

// Signalled are the places that signals have interrupted, if the words are those of a
// stack that these may be handled on: what looks like the kernel's struct ucontext. On
// arm64 more does than is one.
func Signalled(isa arch.ISA, words []uint64) (list []uint64) {
	pc := isa.UContextPC()
	for i := pc; i+2 < len(words); i++ {
		uc := words[i-pc:]
		if uc[ucFlags] < 8 && uc[ucLink] == 0 && isa.UserState(words[i+1], words[i+2]) {
			list = append(list, words[i])
		}
	}
	return list
}

// Interrupted are the places that signals have interrupted, if the words are
// those of the stack on which Go handles them, from sp on: of all that may look
// so behind that stack's end, those that name a stack that sp lies in.
func Interrupted(isa arch.ISA, words []uint64, sp arch.Addr) (list []uint64) {
	pc := isa.UContextPC()
	for i := pc; i < len(words); i++ {
		uc := words[i-pc:]
		from, size := uc[ucStack], uc[ucStack+2]
		if sp := uint64(sp); sp >= from && sp-from < size {
			list = append(list, words[i])
		}
	}
	return list
}

// Words are those of a process's memory between two addresses, as far as it is there.
func Words(memory Memory, from, to arch.Addr) []uint64 {
	buf := make([]byte, min(to-from, 4<<20))
	n, _ := memory.ReadSome(from, buf)
	words := make([]uint64, n/8)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return words
}
