package native

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// Words of registers that are not like the others.
const (
	regLR    = 30
	regSP    = 31
	regFlags = 33
)

// SP is the word of the stack pointer.
const SP = regSP

// Foreign are the words of registers that stay Go's: x16 and x17, which stubs
// need, x18, which is the platform's, and x28, by which a signal handler knows
// where it is.
func Foreign(w int) bool { return w >= 16 && w <= 18 || w == 28 }

// adr is adr xREG, addr.
func adr(b *arch.Buffer, reg uint32, addr arch.Addr) {
	d := uint32(addr - b.PC())
	b.Uint32(0x10000000 | d&3<<29 | d>>2&(1<<19-1)<<5 | reg)
}

// moveWord moves register reg from or to word i of the state, which x17 points to;
// op is ldr or str.
func moveWord(b *arch.Buffer, op, reg uint32, i int) {
	b.Uint32(op | uint32(i)<<10 | 17<<5 | reg)
}

const (
	ldr = 0xf9400000
	str = 0xf9000000
)

// registers moves each register that is not Go's.
func registers(b *arch.Buffer, op uint32) {
	for w := range regSP {
		if !Foreign(w) {
			moveWord(b, op, uint32(w), w)
		}
	}
}

func enterStub(b *arch.Buffer, state arch.Addr) {
	adr(b, 17, state)
	b.Uint32(0x910003f0) // mov x16, sp
	moveWord(b, str, 16, stateSP)
	moveWord(b, str, 29, stateFP)
	moveWord(b, str, regLR, statePC+2)
	moveWord(b, ldr, 16, regSP)
	b.Uint32(0x9100021f) // mov sp, x16
	moveWord(b, ldr, 16, regFlags)
	b.Uint32(0xd51b4210) // msr nzcv, x16
	registers(b, ldr)
	moveWord(b, ldr, 16, statePC)
	b.Uint32(0xd61f0200) // br x16
}

func helperStub(b *arch.Buffer, state arch.Addr, n int) {
	b.Uint32(0x52800010 | uint32(n)<<5) // mov w16, #n
}

func leaveStub(b *arch.Buffer, state arch.Addr) {
	adr(b, 17, state)
	moveWord(b, str, 16, stateHelper)
	registers(b, str)
	b.Uint32(0x910003f0) // mov x16, sp
	moveWord(b, str, 16, regSP)
	b.Uint32(0xd53b4210) // mrs x16, nzcv
	moveWord(b, str, 16, regFlags)
	moveWord(b, ldr, 16, stateSP)
	b.Uint32(0x9100021f) // mov sp, x16
	moveWord(b, ldr, 29, stateFP)
	moveWord(b, ldr, regLR, statePC+2)
	b.Uint32(0xd65f03c0) // ret
}

// back is the return address of a helper's call.
func back(r *arch.Regs) arch.Addr { return arch.Addr(r[regLR]) }

// Jump is code at address at that goes to addr.
func Jump(at, addr arch.Addr) []byte {
	return binary.LittleEndian.AppendUint32(nil, 0x14000000|uint32(int64(addr-at)>>2)&(1<<26-1))
}

// call sets up r for a call that returns to addr.
func call(r *arch.Regs, addr arch.Addr) { r[regLR] = uint64(addr) }

// Thread makes registers of any numbers those of a thread.
func Thread(r arch.Regs) arch.Regs {
	r[regFlags] &= flagsMask
	return r
}

// kept are the words of registers that Run gives to the code and takes back.
func kept(w int) bool { return w < regSP && !Foreign(w) }

// The flags that code may change, in their word.
const (
	flags     = regFlags
	flagsMask = 0xf << 28
)

// homes are the words of the program's R0 to R5, volatile those that helpers
// may change.
var (
	homes    = [6]int{7, 0, 1, 2, 3, 4}
	volatile = []int{0, 1, 2, 3, 4, 7, 9, 10, 11, 12}
)

// callAlign is the stack pointer modulo 16 where a helper starts.
const callAlign = 0
