package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// lookup sets rax to the address of an array's value. A known index is valid.
func (c *compiler) lookup(o *plan.Op) {
	m, l := &c.Program.Maps[o.To], &c.Target.Maps[o.To]
	perCPU := m.Type.PerCPU()
	c.changes(rax)
	c.Flags = true
	mem := plan.Mem{Base: plan.BaseRegion, Off: int64(l.Data)}
	constant, register := o.Key()
	if constant {
		if l.Slotted {
			c.slot(rax, scratch0, scratch1)
		} else {
			c.cpu(rax)
		}
		c.scale(rax, l.CPUStride)
		mem.Off += o.Imm * int64(l.Stride)
		c.addAddress(o, mem)
		return
	}
	miss, done := o.Miss, c.NewLabel()
	if miss < 0 {
		miss = c.NewLabel()
	}
	if register {
		c.truncate(4, rax, is(home[o.Src]))
	} else {
		c.truncate(4, rax, c.place(o.Mem))
	}
	c.withImm(false, groupCmp, is(rax), int64(int32(m.MaxEntries)), 0)
	c.jump(ifNotBelow, miss)
	c.scale(rax, l.Stride)
	if perCPU {
		if l.Slotted {
			c.slot(scratch1, scratch0, scratch2)
		} else {
			c.cpu(scratch1)
		}
		c.scale(scratch1, l.CPUStride)
		c.put(inst{wide: true, op: []byte{0x01}, reg: scratch1, rm: is(rax)})
	}
	c.addAddress(o, mem)
	if o.Miss < 0 {
		c.jump(always, done)
		c.Label(miss)
		c.constant(rax, 0)
	}
	c.Label(done)
}

// slot sets r to the number of the thread's slot, from its entry in the table of threads.
func (c *compiler) slot(r, entry, table reg) {
	c.changes(entry, table)
	c.Flags, c.Claims = true, true
	known := c.NewLabel()
	c.self(r)
	mul := uint32(plan.ThreadMul)
	c.put(inst{op: []byte{0x69}, reg: entry, rm: is(r), imm: int64(int32(mul)), immLen: 4})
	c.put(inst{op: shiftBy, reg: shifts[program.AluRsh], rm: is(entry), imm: 32 - plan.ThreadBits, immLen: 1})
	c.put(inst{op: shiftBy, reg: shifts[program.AluLsh], rm: is(entry), imm: int64(shiftOf(plan.ThreadEntry)), immLen: 1})
	first := c.Target.Threads + plan.ThreadFirst
	if c.near(first) {
		c.put(inst{wide: true, op: lea, reg: table, rm: at(none, int64(first))})
	} else {
		c.constant(table, int64(first))
	}
	c.put(inst{wide: true, op: []byte{0x01}, reg: table, rm: is(entry)})
	c.put(inst{wide: true, op: cmp, reg: r, rm: at(entry, 0)})
	c.jump(ifEqual, known)
	claim := c.Target.Helpers[plan.Helper{Num: plan.FnClaim, Map: plan.NoMap}]
	if c.near(claim) {
		c.bytes(0xe8)
		c.relativeTo(claim, 0)
	} else {
		c.constant(scratch0, int64(claim))
		c.bytes(0x41, 0xff, 0xd3) // call r11
	}
	if entry != scratch0 {
		c.move(true, entry, scratch0)
	}
	c.Label(known)
	c.put(inst{op: movFrom, reg: r, rm: at(entry, plan.ThreadSlot)})
}

// scale multiplies r.
func (c *compiler) scale(r reg, by int) {
	if n := shiftOf(by); n >= 0 {
		if n > 0 {
			c.put(inst{wide: true, op: shiftBy, reg: shifts[program.AluLsh], rm: is(r), imm: int64(n), immLen: 1})
		}
		return
	}
	c.put(inst{wide: true, op: []byte{0x69}, reg: r, rm: is(r), imm: int64(by), immLen: 4})
}

// addAddress adds the address of mem to rax.
func (c *compiler) addAddress(o *plan.Op, mem plan.Mem) {
	r := c.spare(o)
	c.address(r, mem)
	c.put(inst{wide: true, op: []byte{0x01}, reg: r, rm: is(rax)})
}

// spare returns a register that is not needed: if possible one of those that are changed anyway.
func (c *compiler) spare(o *plan.Op) reg {
	for r := program.R1; r <= program.R5; r++ {
		if o.Live>>r&1 == 0 && c.Changes(words(home[r])) {
			return home[r]
		}
	}
	return scratch0
}
