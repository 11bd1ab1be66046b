package amd64

import (
	"encoding/binary"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// slotWriter writes code with constants behind it, and records the boundaries of its instructions.
type slotWriter struct {
	b      *arch.Buffer
	start  int // offset of the slot in b.Code
	fixes  []arch.Fix
	consts []constant
}

// constant is 8 bytes that the 32-bit displacement at ref refers to.
type constant struct {
	ref   int // offset in b.Code
	value uint64
}

// mark records how to show a task at the next byte.
func (w *slotWriter) mark(f arch.Fix) {
	f.Off, f.Reg = len(w.b.Code)-w.start, -1
	w.fixes = append(w.fixes, f)
}

// jump jumps to target at any distance.
func (w *slotWriter) jump(target arch.Addr) {
	if end := w.b.PC() + 5; reaches(end, target) {
		w.b.Bytes(opJmp)
		w.b.Uint32(uint32(target - end))
		return
	}
	w.b.Bytes(opGroup5, group5Jmp<<3|numRBP) // jmp *const(%rip)
	w.refer(uint64(target))
}

// push pushes v without changing a register.
func (w *slotWriter) push(v uint64) {
	w.b.Bytes(opGroup5, 6<<3|numRBP) // push const(%rip)
	w.refer(v)
}

// setReg loads v into the register with this number: movabs.
func (w *slotWriter) setReg(num byte, v uint64) {
	w.b.Bytes(0x48|num>>3, 0xb8|num&7)
	w.b.Uint64(v)
}

func (w *slotWriter) refer(v uint64) {
	w.consts = append(w.consts, constant{len(w.b.Code), v})
	w.b.Uint32(0)
}

// finish writes the constants, aligned: the program may have enabled faults for unaligned accesses
// (EFLAGS.AC).
func (w *slotWriter) finish() arch.Slot {
	for _, c := range w.consts {
		for w.b.PC()%8 != 0 {
			w.b.Bytes(opInt3)
		}
		binary.LittleEndian.PutUint32(w.b.Code[c.ref:], uint32(len(w.b.Code)-(c.ref+4)))
		w.b.Uint64(c.value)
	}
	return arch.Slot{Len: len(w.b.Code) - w.start, Fixes: slices.Clone(w.fixes)} // some are kept as long as the patch: without spare capacity
}

// reaches reports whether a 32-bit displacement can lead from end to target.
func reaches(end, target arch.Addr) bool {
	d := int64(target - end)
	return d == int64(int32(d))
}
