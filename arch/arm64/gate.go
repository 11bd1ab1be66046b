package arm64

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// LoadsNumber implements arch.ISA: movz w8 or x8, #nr.
func (isa) LoadsNumber(code []byte, nr uint64) bool {
	w, err := word(code, 0)
	return err == nil && w&^(1<<31) == 0x52800000|uint32(nr)<<5|8
}

// SigactionGate implements arch.ISA. It does not touch memory that the program may use below its
// stack pointer (Go's frame pointer), and it keeps the flags, as a system call does.
func (isa) SigactionGate(b *arch.Buffer, behind arch.Addr, pid int) error {
	const room, x9 = 80, 9
	restore := func() {
		b.Uint32(0xa94327e8)            // ldp x8, x9, [sp, #48]
		b.Uint32(0xa9420fe2)            // ldp x2, x3, [sp, #32]
		b.Uint32(0xa94107e0)            // ldp x0, x1, [sp, #16]
		b.Uint32(0x910003ff | room<<10) // add sp, sp, #room
	}
	b.Uint32(0xd10003ff | room<<10) // sub sp, sp, #room
	b.Uint32(0xa90107e0)            // stp x0, x1, [sp, #16]
	b.Uint32(0xa9020fe2)            // stp x2, x3, [sp, #32]
	b.Uint32(0xa90327e8)            // stp x8, x9, [sp, #48]
	b.Uint32(0x51001409)            // sub w9, w0, #5
	other := len(b.Code)
	b.Uint32(0)
	for _, w := range []uint32{
		0xf90003ff, // str xzr, [sp]
		0xd2800000, // mov x0, #0
		0xd2800001, // mov x1, #0
		0x910003e2, // mov x2, sp
		0xd2800103, // mov x3, #8
		0xd28010e8, // mov x8, #135, rt_sigprocmask
		svc,
		0xf94003e9, // ldr x9, [sp]
	} {
		b.Uint32(w)
	}
	const rest = 4 + 3                                                   // the instructions behind which it continues
	b.Uint32(0x36200000 | (1+6+rest)<<5 | x9)                            // tbz w9, #4: on
	b.Uint32(0xd2801588)                                                 // mov x8, #172, getpid
	b.Uint32(svc)                                                        //
	b.Uint32(0x52800009 | uint32(pid)&0xffff<<5)                         // mov w9, #pid
	b.Uint32(0x72a00009 | uint32(pid)>>16<<5)                            // movk w9, lsl #16
	b.Uint32(0x4b090009)                                                 // sub w9, w0, w9
	b.Uint32(0x34000000 | (1+rest)<<5 | x9)                              // cbz w9: on
	put32(b.Code[other:], 0x35000000|uint32(len(b.Code)-other)>>2<<5|x9) // cbnz w9
	restore()
	b.Uint32(0xd28010c8) // mov x8, #134
	b.Uint32(svc)
	delta := int64(behind - b.PC())
	if delta < -branchReach || delta >= branchReach {
		return failure.Unsupportedf("%v is out of a jump's reach from %v", behind, b.PC())
	}
	b.Uint32(encBranch(delta))
	restore()
	return nil
}

// TakesNumber implements arch.ISA: mov w8, w0 or mov x8, x0.
func (isa) TakesNumber(code []byte) bool {
	w, err := word(code, 0)
	return err == nil && w&^(1<<31) == 0x2a0003e8
}

func (isa) WrapperGate(b *arch.Buffer, aside arch.Addr) error {
	b.Uint32(0x7102191f) // cmp w8, #134
	b.Uint32(0x54000081) // b.ne on
	b.Uint32(0x7100141f) // cmp w0, #5
	b.Uint32(0x54000041) // b.ne on
	delta := int64(aside - b.PC())
	if delta < -branchReach || delta >= branchReach {
		return failure.Unsupportedf("%v is out of a jump's reach from %v", aside, b.PC())
	}
	b.Uint32(encBranch(delta))
	return nil
}
