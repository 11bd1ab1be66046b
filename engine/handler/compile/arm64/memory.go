package arm64

import (
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// log2 returns the logarithm of a size in bytes, as loads and stores encode it.
func log2(size uint8) uint32 { return uint32(bits.TrailingZeros8(size)) }

// memory writes a load or store of r at p; it uses scratch3 if p is out of reach.
func (c *compiler) memory(acc, size uint32, r reg, p place) {
	if !c.access(acc, size, r, p.base, p.off) {
		c.constant(scratch3, p.off)
		c.accessReg(acc, size, r, p.base, scratch3)
	}
}

func (c *compiler) load(o *plan.Op) {
	dst := home[o.Dst]
	if o.Mem.Base == plan.BaseFrame {
		if r := holder(int(o.Mem.Off / 8)); r != none && c.Held(o) {
			if o.Signed {
				c.extend(true, o.Size, dst, r)
			} else {
				c.truncate(o.Size, dst, r)
			}
			return
		}
		c.InFrame(o)
	}
	p := c.place(o.Mem)
	c.changes(dst)
	acc := uint32(accLoad)
	if o.Signed && o.Size < 8 {
		acc = accLoadS
	}
	c.memory(acc, log2(o.Size), dst, p)
}

func (c *compiler) store(o *plan.Op) {
	if o.Mem.Base == plan.BaseFrame {
		c.InFrame(o)
	}
	r := zero
	if !o.UsesImm() || o.Imm != 0 {
		r = c.operand(o, scratch1)
	}
	c.memory(accStore, log2(o.Size), r, c.place(o.Mem))
}

// pointer returns a register that points to o's memory; it loads scratch0 if no other does.
func (c *compiler) pointer(o *plan.Op) reg {
	if o.Mem.Base == plan.BaseFrame {
		c.InFrame(o)
	}
	p := c.place(o.Mem)
	if p.off == 0 {
		return p.base
	}
	c.changes(scratch0)
	c.addTo(scratch0, p.base, p.off)
	return scratch0
}

// loadAcquire and storeRelease take no offset.
func (c *compiler) loadAcquire(o *plan.Op) {
	p := c.pointer(o)
	c.changes(home[o.Dst])
	c.put(log2(o.Size)<<30 | 0x08dffc00 | uint32(p)<<5 | uint32(home[o.Dst]))
}

func (c *compiler) storeRelease(o *plan.Op) {
	r := c.operand(o, scratch1)
	p := c.pointer(o)
	c.put(log2(o.Size)<<30 | 0x089ffc00 | uint32(p)<<5 | uint32(r))
}
