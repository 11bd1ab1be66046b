package arm64

import "encoding/binary"

// Instructions without operands to choose.
const (
	nop            = 0xd503201f
	svc            = 0xd4000001 // svc #0
	movX8Sigreturn = 0xd2801168 // mov x8, #139
)

// branchReach is the range of b and bl in either direction, in bytes.
const branchReach = 128 << 20

func put32(p []byte, w uint32) { binary.LittleEndian.PutUint32(p, w) }

// encBranch encodes b by delta bytes.
func encBranch(delta int64) uint32 { return 0x14000000 | uint32(delta>>2)&(1<<26-1) }

// encRetarget returns the conditional branch w, of form f, with a distance of delta bytes.
func encRetarget(f form, w uint32, delta int) uint32 {
	bits := uint(19)
	switch f {
	case formBit:
		bits = 14
	case formCompare:
		bits = 9
	}
	mask := uint32(1<<bits-1) << 5
	return w&^mask | uint32(delta>>2)<<5&mask
}

// encLoadLiteral encodes ldr xREG of the literal delta bytes ahead.
func encLoadLiteral(reg uint32, delta int) uint32 {
	return 0x58000000 | uint32(delta>>2)&(1<<19-1)<<5 | reg
}

// encLoad returns the load with the effect of the literal load w, from the address in base.
func encLoad(w, base uint32) uint32 {
	return loads[w>>26&1][w>>30&3] | base<<5 | w&31
}

// loads are the loads without offset, by V and opc of the literal form.
var loads = [2][4]uint32{
	{0xb9400000, 0xf9400000, 0xb9800000, 0xf9800000}, // ldr w, ldr x, ldrsw, prfm
	{0xbd400000, 0xfd400000, 0x3dc00000, 0},          // ldr s, ldr d, ldr q
}

// encPush encodes str xREG, [sp, #-16]!; encPop encodes ldr xREG, [sp], #16.
func encPush(reg uint32) uint32 { return 0xf81f0fe0 | reg }
func encPop(reg uint32) uint32  { return 0xf84107e0 | reg }
