package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// primitive writes operations that only helpers use.
func (c *compiler) primitive(o *plan.Op) {
	switch o.Kind {
	case plan.Thread:
		c.changes(rax)
		c.bytes(0xf3, 0x48, 0x0f, 0xae, 0xc0) // rdfsbase rax
	case plan.Self:
		c.self(rax)
	case plan.Slot:
		c.cpu(rax)
	case plan.Cycles:
		c.cycles(o)
	case plan.Scale:
		c.product(o)
	case plan.Syscall:
		c.changes(rax, rcx, r9, r10, r11)
		c.put(inst{wide: true, op: movTo, reg: home[program.R4], rm: is(r10)})
		c.constant(r9, 0)
		c.constant(rax, o.Imm)
		c.bytes(0x0f, 0x05)
		c.changes(home[program.R1], home[program.R2], home[program.R3], home[program.R5]) // as calls do
	}
}

// cycles sets rax to the time-stamp counter, without waiting for instructions in flight.
func (c *compiler) cycles(o *plan.Op) {
	c.changingRDX(o, func() {
		c.bytes(0x0f, 0x31) // rdtsc
		c.put(inst{wide: true, op: shiftBy, reg: shifts[program.AluLsh], rm: is(rdx), imm: 32, immLen: 1})
		c.put(inst{wide: true, op: []byte{byte(groupOr)<<3 | 1}, reg: rdx, rm: is(rax)})
	})
}

// product sets rax to the 128-bit product of rax and r8, shifted right.
func (c *compiler) product(o *plan.Op) {
	c.changingRDX(o, func() {
		c.put(inst{wide: true, op: unary, reg: 4, rm: is(r8)})                                        // mul
		c.put(inst{wide: true, op: []byte{0x0f, 0xac}, reg: rdx, rm: is(rax), imm: o.Imm, immLen: 1}) // shrd
	})
}

// changingRDX writes code that changes rax, the flags, and rdx; it saves rdx if rdx is needed
// behind o.
func (c *compiler) changingRDX(o *plan.Op, write func()) {
	c.changes(rax)
	c.Flags = true
	keep := o.Live>>program.R3&1 != 0
	if keep {
		c.move(true, scratch0, rdx)
	}
	c.changes(rdx)
	write()
	if keep {
		c.put(inst{wide: true, op: movTo, reg: scratch0, rm: is(rdx)})
	}
}

// self sets r to the word at %fs:0.
func (c *compiler) self(r reg) {
	c.changes(r)
	c.bytes(0x64, 0x48|byte(r>>3)<<2, 0x8b, byte(r&7)<<3|4, 0x25, 0, 0, 0, 0)
}
