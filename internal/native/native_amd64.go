package native

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// numbers are the registers' in instructions, by their words; none is what
// programs do not compute with.
var numbers = [regSP + 1]byte{
	15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7, none, none, none, none, 4,
}

const none = 0xff

// Words of registers that are not like the others.
const (
	regFlags = 18
	regSP    = 19
)

// stateStack is the word below which the stubs push: not on the code's stack.
const stateStack = 128

// SP is the word of the stack pointer.
const SP = regSP

// relative appends code of an instruction whose operand is the state's word i.
func relative(b *arch.Buffer, state arch.Addr, i int, behind int, code ...byte) {
	b.Bytes(code...)
	next := b.PC() + 4 + arch.Addr(behind)
	b.Uint32(uint32(state + arch.Addr(8*i) - next))
}

// registers moves each register but the stack pointer by opcode op.
func registers(b *arch.Buffer, state arch.Addr, op byte) {
	for w := range regSP {
		if n := numbers[w]; n != none {
			relative(b, state, w, 0, 0x48|n>>3<<2, op, n&7<<3|5)
		}
	}
}

func enterStub(b *arch.Buffer, state arch.Addr) {
	relative(b, state, stateSP, 0, 0x48, 0x89, 4<<3|5)
	relative(b, state, stateFP, 0, 0x48, 0x89, 5<<3|5)
	relative(b, state, stateStack, 0, 0x48, 0x8d, 4<<3|5) // lea
	relative(b, state, regFlags, 0, 0xff, 6<<3|5)         // push
	b.Bytes(0x9d)                                         // popfq
	relative(b, state, regSP, 0, 0x48, 0x8b, 4<<3|5)
	registers(b, state, 0x8b)
	relative(b, state, statePC, 0, 0xff, 4<<3|5) // jmp
}

func helperStub(b *arch.Buffer, state arch.Addr, n int) {
	relative(b, state, stateHelper, 4, 0xc7, 5)
	b.Uint32(uint32(n))
}

func leaveStub(b *arch.Buffer, state arch.Addr) {
	relative(b, state, regSP, 0, 0x48, 0x89, 4<<3|5)
	registers(b, state, 0x89)
	relative(b, state, stateStack, 0, 0x48, 0x8d, 4<<3|5)
	b.Bytes(0x9c)                            // pushfq
	relative(b, state, regFlags, 0, 0x8f, 5) // pop
	b.Bytes(0xfc)                            // cld
	relative(b, state, stateFP, 0, 0x48, 0x8b, 5<<3|5)
	relative(b, state, stateSP, 0, 0x48, 0x8b, 4<<3|5)
	b.Bytes(0xc3)
}

// back pops the return address of a helper's call.
func back(r *arch.Regs) arch.Addr {
	pc := *word(r[regSP])
	r[regSP] += 8
	return arch.Addr(pc)
}

// Jump is code at address at that goes to addr.
func Jump(at, addr arch.Addr) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(addr-at-5))
}

// call sets up r for a call that returns to addr.
func call(r *arch.Regs, addr arch.Addr) {
	r[regSP] -= 8
	*word(r[regSP]) = uint64(addr)
}

// Thread makes registers of any numbers those of a thread.
func Thread(r arch.Regs) arch.Regs {
	r[regFlags] = 0x202 | r[regFlags]&flagsMask
	return r
}

// kept are the words of registers that Run gives to the code and takes back.
func kept(w int) bool { return w < regSP && numbers[w] != none }

// Foreign are the words of registers that stay Go's: none here.
func Foreign(int) bool { return false }

// The flags that code may change, in their word.
const (
	flags     = regFlags
	flagsMask = 0x8d5
)

// homes are the words of the program's R0 to R5, volatile those that helpers
// may change.
var (
	homes    = [6]int{10, 14, 13, 12, 11, 9}
	volatile = []int{10, 14, 13, 12, 11, 9, 6, 7, 8}
)

// callAlign is the stack pointer modulo 16 where a helper starts, the return
// address being on the stack.
const callAlign = 8
