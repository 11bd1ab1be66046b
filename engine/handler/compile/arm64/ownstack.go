package arm64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// Ptracer's stacks. Go's threads have no pointer to data of their own on arm64, so that stacks have
// no fixed owner. A thread takes a free one; the search begins at the stack that the address of its
// own stack selects, which differs between goroutines. A signal handler takes another one than the
// thread that it has interrupted.
//
// Each is OwnStackLevel bytes. Its last words are the lock, which is not 0 while a thread has the
// stack, and that thread's stack pointer. There are PoolStacks stacks, at a multiple of their total
// size; searches begin in the first half.

// Offsets of the program's registers that are saved on its own stack meanwhile, in bytes from the
// stack pointer.
const (
	savedX16   = 0
	savedX17   = 8
	savedX15   = 16
	savedFlags = 24
)

// Contents of the end of one of ptracer's stacks, in bytes from the stack pointer that the frame
// begins below.
const (
	stackTaken = 0
	stackOld   = 8 // the program's stack pointer, minus the size saved there
	stackEnd   = 16
)

const (
	x15 reg = 15
	x16 reg = 16
	x17 reg = 17
)

// poolEnd is the bit of an address that differs between the pool and the memory behind it. The bits
// from goroutineBit on select the stack where a search begins.
const (
	poolEnd      = 20
	goroutineBit = 11 // the smallest stack is 2 KiB
	startBits    = 7
	levelBits    = 12
)

var _ = [1]int{}[plan.PoolStacks*plan.OwnStackLevel-1<<poolEnd+plan.OwnStackLevel-1<<levelBits+plan.PoolStacks>>1-1<<startBits]

// taken is the address of the first stack's lock.
func taken(pool arch.Addr) int64 { return int64(pool) + plan.OwnStackLevel - stackEnd }

// ownFrame is how far the program's stack pointer moves, in bytes.
func ownFrame(w *plan.Way) int64 { return int64(w.Skip + plan.OwnStackSaved) }

// enterOwn switches to one of ptracer's stacks. If none is free it continues at skip.
func (a *way) enterOwn(skip int) {
	got, back := a.NewLabel(), a.NewLabel()
	a.addTo(sp, sp, -ownFrame(a.outer))
	a.store(x16, savedX16)
	a.store(x17, savedX17)
	if a.outer.Flags {
		a.put(0xd53b4200 | uint32(x16)) // mrs, nzcv
		a.store(x16, savedFlags)
	}
	a.addTo(x16, sp, 0)
	a.bitfield(true, false, x16, x16, goroutineBit, goroutineBit+startBits-1)
	a.constant(x17, taken(a.outer.Own.Pool))
	a.put(sf(true) | opAdd | uint32(x16)<<16 | levelBits<<10 | uint32(x17)<<5 | uint32(x16))
	a.number(x17, 1)
	a.put(swap | uint32(x17)<<16 | uint32(x16)<<5 | uint32(x17))
	a.branchZero(true, false, x17, got)
	a.store(x15, savedX15)
	a.jump(0x10000000|uint32(x15), formAdr, back)
	a.constant(x17, int64(a.outer.Own.Enter))
	a.put(branchTo | uint32(x17)<<5)
	a.Label(back)
	a.load(x15, savedX15)
	a.branchZero(true, false, x16, skip)
	a.Label(got)
	a.addTo(x17, sp, 0)
	a.access(accStore, 3, x17, x16, stackOld)
	a.addTo(sp, x16, 0)
	a.access(accLoad, 3, x16, x17, savedX16)
	a.access(accLoad, 3, x17, x17, savedX17)
}

// leaveOwn switches back to the program's stack, and releases ptracer's. A thread that has found no
// stack enters it saved bytes from its start.
func (a *way) leaveOwn() (saved int) {
	a.load(x17, stackOld)
	a.addTo(x16, sp, 0)
	a.addTo(sp, x17, 0)
	a.put(3<<30 | 0x089ffc00 | uint32(x16)<<5 | uint32(zero)) // stlr
	saved = len(a.Code)
	if a.outer.Flags {
		a.load(x16, savedFlags)
		a.put(0xd51b4200 | uint32(x16)) // msr
	}
	a.load(x16, savedX16)
	a.load(x17, savedX17)
	a.addTo(sp, sp, ownFrame(a.outer))
	return saved
}

const (
	swap     = 0xf8a08000 // swpa, of 64 bits
	increase = 0xf820001f // stadd, of 64 bits
	branchTo = 0xd61f0000 // br
)

// Enter makes the code for a thread that has found the stack at x16 taken: it tries the stacks
// behind, and returns to x15 with a free one in x16, or with 0 if all are taken, which it counts in
// the word lost. It clobbers x17, and keeps the flags.
func Enter(pool, lost arch.Addr) []byte {
	c := &compiler{Writer: plan.NewWriter(&plan.Plan{Funcs: make([]plan.Func, 1), Target: &plan.Target{}})}
	next := len(c.Code)
	c.addTo(x16, x16, plan.OwnStackLevel)
	behind := uint32(0x36000000) // tbz: the pool's own bit is 1
	if taken(pool)>>poolEnd&1 == 0 {
		behind = 0x37000000 // tbnz
	}
	full := len(c.Code)
	c.put(0)
	c.number(x17, 1)
	c.put(swap | uint32(x17)<<16 | uint32(x16)<<5 | uint32(x17))
	c.put(sf(true) | 0x35000000 | uint32((next-len(c.Code))>>2)&(1<<19-1)<<5 | uint32(x17)) // cbnz
	c.put(branchTo | uint32(x15)<<5)
	binary.LittleEndian.PutUint32(c.Code[full:], behind|poolEnd<<19|uint32((len(c.Code)-full)>>2)<<5|uint32(x16))
	c.constant(x16, int64(lost))
	c.number(x17, 1)
	c.put(increase | uint32(x17)<<16 | uint32(x16)<<5)
	c.number(x16, 0)
	c.put(branchTo | uint32(x15)<<5)
	return c.Code
}
