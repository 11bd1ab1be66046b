package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Exclusive loads and stores; the caller adds the size. The store of an operation that returns the
// old value has release order, and a barrier follows, as in the kernel: no access is reordered
// across such an operation.
const (
	loadExclusive    = 0x085f7c00
	storeExclusive   = 0x08007c00
	storeExclusiveRe = 0x0800fc00
	barrier          = 0xd5033bbf // dmb ish
)

func (c *compiler) atomic(o *plan.Op) {
	wide, size := o.Size == 8, log2(o.Size)<<30
	switch {
	case c.Target.Features&plan.LSE != 0:
		c.atomicLSE(o, wide, size)
	case o.Fn == program.AtomicCmpXchg:
		c.exclusiveCompare(o, wide, size)
	case o.Fetch:
		c.exclusiveFetch(o, wide, size)
	default:
		c.exclusive(o, wide, size)
	}
}

// exclusive writes arithmetic in memory, which repeats until no other access has intervened.
func (c *compiler) exclusive(o *plan.Op, wide bool, size uint32) {
	p := c.pointer(o)
	small := o.UsesImm() && o.Fn == program.AluAdd && (o.Imm >= 0 && o.Imm < 1<<12 || o.Imm < 0 && o.Imm > -1<<12)
	y := none
	if !small {
		y = c.operand(o, scratch1)
	}
	c.changes(scratch2, scratch3)
	again := c.NewLabel()
	c.Label(again)
	c.put(size | loadExclusive | uint32(p)<<5 | uint32(scratch2))
	if small {
		_ = c.imm12(wide, immAdd, scratch2, scratch2, o.Imm) || c.imm12(wide, immSub, scratch2, scratch2, -o.Imm)
	} else {
		c.three(wide, threes[o.Fn], scratch2, scratch2, y)
	}
	c.put(size | storeExclusive | uint32(scratch3)<<16 | uint32(p)<<5 | uint32(scratch2))
	c.branchZero(false, true, scratch3, again)
}

// exclusiveFetch also returns the old value.
func (c *compiler) exclusiveFetch(o *plan.Op, wide bool, size uint32) {
	p, src := c.pointer(o), home[o.Src]
	c.changes(scratch1, scratch2, scratch3, src)
	again, value := c.NewLabel(), src
	c.Label(again)
	c.put(size | loadExclusive | uint32(p)<<5 | uint32(scratch2))
	if o.Fn != program.AtomicXchg {
		value = scratch3
		c.three(wide, threes[o.Fn], value, scratch2, src)
	}
	c.put(size | storeExclusiveRe | uint32(scratch1)<<16 | uint32(p)<<5 | uint32(value))
	c.branchZero(false, true, scratch1, again)
	c.put(barrier)
	c.move(wide, src, scratch2)
}

// exclusiveCompare stores only if memory equals R0, and sets R0 to the old value.
func (c *compiler) exclusiveCompare(o *plan.Op, wide bool, size uint32) {
	p, r0, src := c.pointer(o), home[program.R0], home[o.Src]
	c.changes(scratch1, scratch2, scratch3, r0)
	again, done := c.NewLabel(), c.NewLabel()
	c.Label(again)
	c.put(size | loadExclusive | uint32(p)<<5 | uint32(scratch2))
	c.three(wide, opEor, scratch3, scratch2, r0)
	c.branchZero(wide, true, scratch3, done)
	c.put(size | storeExclusiveRe | uint32(scratch1)<<16 | uint32(p)<<5 | uint32(src))
	c.branchZero(false, true, scratch1, again)
	c.put(barrier)
	c.Label(done)
	c.move(wide, r0, scratch2)
}

// single are the LSE instructions that do the whole operation; the operand of AND's has the bits to
// clear.
var single = map[uint8]uint32{
	program.AluAdd: 0x38200000, program.AluAnd: 0x38201000, program.AluXor: 0x38202000, program.AluOr: 0x38203000,
	program.AtomicXchg: 0x38208000,
}

func (c *compiler) atomicLSE(o *plan.Op, wide bool, size uint32) {
	const acquireRelease = 3 << 22
	p := c.pointer(o)
	if o.Fn == program.AtomicCmpXchg {
		c.changes(home[program.R0])
		c.put(size | 0x08e0fc00 | uint32(home[program.R0])<<16 | uint32(p)<<5 | uint32(home[o.Src])) // casal
		return
	}
	if o.UsesImm() && o.Fn == program.AluAnd {
		inverse := *o
		inverse.Imm = ^o.Imm
		o = &inverse
	}
	y := c.operand(o, scratch1)
	if o.Fn == program.AluAnd && !o.UsesImm() {
		c.changes(scratch1)
		c.three(wide, opOrn, scratch1, zero, y)
		y = scratch1
	}
	w := size | single[o.Fn] | uint32(y)<<16 | uint32(p)<<5
	if o.Fetch {
		c.changes(home[o.Src])
		c.put(w | acquireRelease | uint32(home[o.Src]))
		return
	}
	c.put(w | uint32(zero))
}
