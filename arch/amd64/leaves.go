package amd64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Offsets in the leavesRoom bytes below the stack pointer, behind the red zone, where Leaves saves
// what it changes.
const (
	leavesRoom  = 160
	leavesRAX   = 0
	leavesFlags = 8
	leavesRCX   = 16

	numRAX = 0
)

func (isa) Leaves(b *arch.Buffer, code []byte, from arch.Addr, inside [][2]arch.Addr, n int) ([]arch.Fix, error) {
	in, err := parse(code)
	if err != nil {
		return nil, err
	}
	switch k := in.kind(code); {
	case in.branchesOut():
		b.Bytes(0x0f, 0x80|in.op&0xf^1)
		b.Uint32(uint32(n))
		return nil, nil
	case k != arch.KindJumpIndirect || in.op != opGroup5 || in.reg() != group5Jmp || in.opsize || in.addrsize:
		return nil, failure.Unsupportedf("where this jump leads can't be told before")
	}
	return leavesIndirect(b, in, code[:in.len], from, inside, n)
}

// leavesIndirect compares the target of an indirect jump with the ranges.
func leavesIndirect(b *arch.Buffer, in inst, code []byte, from arch.Addr, inside [][2]arch.Addr, n int) (fixes []arch.Fix, err error) {
	slot := func(op byte, reg byte, off byte) { b.Bytes(0x48, op, 0x44|reg<<3, 0x24, off) }
	restore := func() {
		slot(0x8b, numRCX, leavesRCX)
		slot(0x8b, numRAX, leavesFlags)
		b.Bytes(0x04, 0x7f, 0x9e) // add al, 127; sahf
		slot(0x8b, numRAX, leavesRAX)
		b.Bytes(0x48, 0x8d, 0xa4, 0x24) // lea rsp, [rsp+room]
		b.Uint32(leavesRoom)
	}
	b.Bytes(0x48, 0x8d, 0xa4, 0x24)
	b.Uint32(^uint32(leavesRoom) + 1)
	slot(0x89, numRAX, leavesRAX)
	slot(0x89, numRCX, leavesRCX)
	b.Bytes(0x9f, 0x0f, 0x90, 0xc0) // lahf; seto al
	slot(0x89, numRAX, leavesFlags)
	slot(0x8b, numRAX, leavesRAX)
	if in.memory() { // everything but the stack pointer is unchanged
		fixes = []arch.Fix{{Off: len(b.Code), PC: from, SP: leavesRoom, Before: true, Reg: -1}}
	}
	if err := loadTarget(b, in, code, from); err != nil {
		return nil, err
	}
	var found []int // distances to the code for a target inside
	for _, r := range inside {
		b.Bytes(0x48, 0xb8|numRCX) // movabs
		b.Uint64(uint64(r[0]))
		b.Bytes(0x48, 0x39, 0xc8)  // cmp rax, rcx
		b.Bytes(0x72, 10+3+6)      // jb: the next one
		b.Bytes(0x48, 0xb8|numRCX) // movabs
		b.Uint64(uint64(r[1]))
		b.Bytes(0x48, 0x39, 0xc8)
		b.Bytes(0x0f, 0x82) // jb
		found = append(found, len(b.Code))
		b.Uint32(0)
	}
	restore()
	b.Bytes(0xeb, 0)
	over := len(b.Code)
	for _, at := range found {
		binary.LittleEndian.PutUint32(b.Code[at:], uint32(len(b.Code)-at-4))
	}
	restore()
	b.Bytes(opJmp)
	b.Uint32(uint32(n))
	b.Code[over-1] = byte(len(b.Code) - over)
	return fixes, nil
}

// loadTarget loads rax with the target of an indirect jump. The stack pointer is leavesRoom lower
// than at the jump.
func loadTarget(b *arch.Buffer, in inst, code []byte, from arch.Addr) error {
	if !in.memory() {
		if in.rm() == numRSP && in.rexB() == 0 {
			return failure.Unsupportedf("a jump to the stack pointer")
		}
		b.Bytes(0x48|in.rexB(), 0x8b, 0xc0|in.rm())
		return nil
	}
	if in.seg == 0x64 || in.seg == 0x65 {
		b.Bytes(in.seg)
	}
	b.Bytes(0x48|in.rex&3, 0x8b)
	switch {
	case in.ripRelative():
		b.Bytes(0x05)
		end := b.PC() + 4
		disp := int64(from) + int64(len(code)) + int64(in.disp) - int64(end)
		if disp != int64(int32(disp)) {
			return failure.Unsupportedf("operand out of reach of the slot")
		}
		b.Uint32(uint32(disp))
	case in.rm() == numRSP && in.hasSIB && in.sib&7 == numRSP && in.rexB() == 0:
		b.Bytes(0x84, in.sib)
		b.Uint32(uint32(int64(in.disp) + leavesRoom))
	default:
		b.Bytes(in.modrm &^ 0x38)
		b.Bytes(code[in.modrmAt+1:]...) // SIB and displacement; nothing follows
	}
	return nil
}
