package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

func (c *compiler) load(i int) {
	o := &c.Ops[i]
	p := place{}
	if o.Mem.Base == plan.BaseFrame {
		p = c.context(o)
	} else {
		p = c.place(o.Mem)
	}
	if o.Signed && o.Size < 8 {
		c.extend(true, o.Size, home[o.Dst], p)
	} else {
		c.truncate(o.Size, home[o.Dst], p)
	}
}

// context returns the place of one of the program's registers: the register itself until it has
// been changed, then the frame.
func (c *compiler) context(o *plan.Op) place {
	if r := holder(int(o.Mem.Off / 8)); r != none && c.Held(o) {
		return is(r)
	}
	c.InFrame(o)
	return c.framePlace(o.Mem.Off)
}

func (c *compiler) store(o *plan.Op) {
	if o.Mem.Base == plan.BaseFrame {
		c.InFrame(o)
	}
	i := inst{wide: o.Size == 8}
	if o.UsesImm() {
		i.op, i.imm, i.immLen = movImm, o.Imm, min(int(o.Size), 4)
	} else {
		i.op = movTo
		i.reg = c.storeSource(o)
	}
	switch o.Size {
	case 1:
		i.op, i.byteOp = []byte{i.op[0] - 1}, true
	case 2:
		i.prefix = 0x66
	}
	i.rm = c.place(o.Mem)
	c.put(i)
}

// storeSource is source for operations that use scratch0 in the place.
func (c *compiler) storeSource(o *plan.Op) reg {
	if o.Src == program.R10 {
		c.address(scratch1, plan.Mem{Base: plan.BaseStack})
		return scratch1
	}
	return home[o.Src]
}

// locked is the prefix that makes an instruction atomic for other threads. Within one thread every
// instruction is: nothing interrupts it in the middle.
func locked(o *plan.Op) byte {
	const lock = 0xf0
	if o.Own {
		return 0
	}
	return lock
}

func (c *compiler) atomic(o *plan.Op) {
	wide := o.Size == 8
	p := c.place(o.Mem)
	c.Flags = true
	prefix := locked(o)
	if o.UsesImm() {
		c.withImm(wide, groups[o.Fn], p, o.Imm, prefix)
		return
	}
	src := c.storeSource(o)
	switch {
	case o.Fn == program.AtomicXchg:
		c.changes(src)
		c.put(inst{wide: wide, op: []byte{0x87}, reg: src, rm: p})
	case o.Fn == program.AtomicCmpXchg:
		c.changes(rax)
		c.put(inst{prefix: prefix, wide: wide, op: []byte{0x0f, 0xb1}, reg: src, rm: p})
		if !wide {
			c.move(false, rax, rax) // the machine does not clear the upper half if they were equal
		}
	case !o.Fetch:
		c.put(inst{prefix: prefix, wide: wide, op: []byte{byte(groups[o.Fn])<<3 | 1}, reg: src, rm: p})
	case o.Fn == program.AluAdd:
		c.changes(src)
		c.put(inst{prefix: prefix, wide: wide, op: []byte{0x0f, 0xc1}, reg: src, rm: p})
	default:
		c.fetch(o, src, p)
	}
}

// fetch writes operations for which the machine has no instruction that returns the old value.
func (c *compiler) fetch(o *plan.Op, src reg, p place) {
	wide := o.Size == 8
	c.move(true, scratch1, rax)
	operand := src
	if src == rax {
		operand = scratch1
	}
	if p.reg == none && p.base == rax {
		p.base = scratch1
	}
	again := c.NewLabel()
	c.changes(scratch2)
	c.put(inst{wide: wide, op: movFrom, reg: rax, rm: p})
	c.Label(again)
	c.put(inst{wide: wide, op: movTo, reg: rax, rm: is(scratch2)})
	c.put(inst{wide: wide, op: []byte{byte(groups[o.Fn])<<3 | 1}, reg: operand, rm: is(scratch2)})
	c.put(inst{prefix: locked(o), wide: wide, op: []byte{0x0f, 0xb1}, reg: scratch2, rm: p})
	c.jump(ifNot, again)
	c.move(wide, src, rax)
	if src != rax {
		c.put(inst{wide: true, op: movTo, reg: scratch1, rm: is(rax)})
	}
}
