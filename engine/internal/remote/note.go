package remote

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A note lies before each stub: magic, then address and size of the mapping that the
// stub's call is about to make, or to take away, and which of these; or 0.
const noteLen = 32

const noteMagic = 0x2100627574732170 // "p!stub\0!"

// ScratchRoom is the room for a note and a stub where there is no area yet. It is the
// same for all calls, so that the next tracer finds the note.
func (c *Caller) ScratchRoom() int {
	if c.isa.MinInst() == 4 { // the stub holds a signal frame
		return noteLen + 1136
	}
	return noteLen + 160
}

// noteOf is the note of a stub for a system call.
func noteOf(nr uint64, args [6]uint64) []byte {
	b := make([]byte, noteLen)
	binary.LittleEndian.PutUint64(b, noteMagic)
	if nr == ptrace.SysMmap || nr == ptrace.SysMunmap {
		binary.LittleEndian.PutUint64(b[8:], args[0])
		binary.LittleEndian.PutUint64(b[16:], args[1])
		binary.LittleEndian.PutUint64(b[24:], nr)
	}
	return b
}

// Note says which mapping a stub makes, or takes away: where it is, its size in bytes, and the
// number of the call. All are 0 where the stub makes another call.
type Note struct {
	Addr arch.Addr
	Size int
	Call uint64
}

// ReadNote reads the note at a place; ok reports whether one is there.
func ReadNote(mem *ptrace.Memory, at arch.Addr) (n Note, ok bool) {
	var b [noteLen]byte
	if mem.Read(at, b[:]) != nil || binary.LittleEndian.Uint64(b[:]) != noteMagic {
		return n, false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	return Note{arch.Addr(word(8)), int(word(16)), word(24)}, true
}
