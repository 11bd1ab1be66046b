package arm64

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

func (isa) Leaves(b *arch.Buffer, code []byte, from arch.Addr, inside [][2]arch.Addr, n int) ([]arch.Fix, error) {
	w, err := word(code, 0)
	if err != nil {
		return nil, err
	}
	switch f := classify(w); f {
	case formCond, formZero, formBit, formCompare:
		b.Uint32(encRetarget(f, w, 2*instLen))
		b.Uint32(encBranch(int64(n + instLen)))
		return nil, nil
	case formBR:
		leavesIndirect(b, w>>5&31, inside, n)
		return nil, nil
	}
	return nil, failure.Unsupportedf("where this jump leads can't be told before")
}

// leavesIndirect compares the target of br with the ranges. It saves registers below the 16 bytes
// under the stack pointer that a program may use (Go's frame pointer).
func leavesIndirect(b *arch.Buffer, target uint32, inside [][2]arch.Addr, n int) {
	const room, x9, x10 = 48, 9, 10
	restore := func() {
		b.Uint32(0xf9400be9)            // ldr x9, [sp, #16]
		b.Uint32(0xd51b4209)            // msr nzcv, x9
		b.Uint32(0xa94027ea)            // ldp x10, x9, [sp]
		b.Uint32(0x910003ff | room<<10) // add sp, sp, #room
	}
	b.Uint32(0xd10003ff | room<<10) // sub sp, sp, #room
	b.Uint32(0xa90027ea)            // stp x10, x9, [sp]
	b.Uint32(0xd53b4209)            // mrs x9, nzcv
	b.Uint32(0xf9000be9)            // str x9, [sp, #16]
	switch target {
	case x9:
		b.Uint32(0xf94007ea) // ldr x10, [sp, #8]
	default:
		b.Uint32(0xaa0003e0 | target<<16 | x10) // mov x10, target
	}
	var found []int
	for _, r := range inside {
		loadConst(b, x9, uint64(r[0]))
		b.Uint32(0xeb09015f)                // cmp x10, x9
		b.Uint32(0x54000003 | (1+4+1+1)<<5) // b.lo: the next one
		loadConst(b, x9, uint64(r[1]))
		b.Uint32(0xeb09015f)
		found = append(found, len(b.Code))
		b.Uint32(0x54000003) // b.lo
	}
	restore()
	over := len(b.Code)
	b.Uint32(0)
	for _, at := range found {
		put32(b.Code[at:], 0x54000003|uint32(len(b.Code)-at)>>2<<5)
	}
	restore()
	b.Uint32(encBranch(int64(n + instLen)))
	put32(b.Code[over:], encBranch(int64(len(b.Code)-over)))
}

// loadConst writes four instructions for any v.
func loadConst(b *arch.Buffer, reg uint32, v uint64) {
	const movz, movk = 0xd2800000, 0xf2800000
	b.Uint32(movz | uint32(v&0xffff)<<5 | reg)
	for i := uint32(1); i < 4; i++ {
		b.Uint32(movk | i<<21 | uint32(v>>(16*i)&0xffff)<<5 | reg)
	}
}
