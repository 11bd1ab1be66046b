package amd64

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// Layout completes function f's frame: above the program's stack are the registers saved for the
// caller and the return address. At calls the stack pointer is a multiple of 16, except in helpers,
// which call only ptracer's code.
func (c *compiler) Layout(f int) {
	l := &c.Frames[f]
	above := 0
	if l.Called {
		above = 8 + 8*len(l.Kept)
	}
	if l.Calls && !c.Target.Helper || !l.Called {
		l.Size += -(l.Size + above) & 15
	}
	l.Total = l.Size + above
}

// Enter writes a function's beginning.
func (c *compiler) Enter() {
	l := &c.Frames[c.Fn]
	for _, k := range l.Kept {
		r := home[k]
		if r >= r8 {
			c.bytes(0x41)
		}
		c.bytes(0x50 | byte(r&7)) // push
	}
	c.moveStack(-l.Size)
}

// Leave writes a function's end.
func (c *compiler) Leave() {
	l := &c.Frames[c.Fn]
	c.moveStack(l.Size)
	for i := len(l.Kept) - 1; i >= 0; i-- {
		r := home[l.Kept[i]]
		if r >= r8 {
			c.bytes(0x41)
		}
		c.bytes(0x58 | byte(r&7)) // pop
		c.Restore(words(r))
	}
	c.bytes(0xc3) // ret
}

// moveStack adds n to rsp and keeps the flags.
func (c *compiler) moveStack(n int) {
	if n != 0 {
		c.put(inst{wide: true, op: lea, reg: rsp, rm: at(rsp, int64(n))})
	}
}

// stackPlace is the place at off from R10.
func (c *compiler) stackPlace(off int64) place {
	return at(rsp, int64(c.Frames[c.Fn].Size)+off)
}

// framePlace is the place at off in the frame. Only the program itself knows the frame's place; the
// functions that it calls do not.
func (c *compiler) framePlace(off int64) place {
	return at(rsp, int64(c.Frames[0].Total)+off)
}

// place is the machine's form of m. It uses scratch0 if m is out of reach.
func (c *compiler) place(m plan.Mem) place {
	switch m.Base {
	case plan.BaseStack:
		return c.stackPlace(m.Off)
	case plan.BaseFrame:
		return c.framePlace(m.Off)
	case plan.BaseRegion:
		addr := int64(c.Target.Region) + m.Off
		if c.near(arch.Addr(addr)) {
			return place{reg: none, base: none, disp: addr, region: true}
		}
		c.constant(scratch0, addr)
		return at(scratch0, 0)
	}
	return at(home[m.Base], m.Off)
}
