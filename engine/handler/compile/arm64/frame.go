package arm64

import "github.com/ptracer/ptracer/engine/handler/compile/plan"

// Layout completes function f's frame: above the program's stack are the registers saved for the
// caller, the return address last. The stack pointer is always a multiple of 16.
func (c *compiler) Layout(f int) {
	l := &c.Frames[f]
	l.Total = (l.Size + 8*len(c.kept(l)) + 15) &^ 15
	if !l.Called {
		l.Size = l.Total
	}
}

// kept returns the registers that l's function saves for its caller.
func (c *compiler) kept(l *plan.Frame) (list []reg) {
	for _, k := range l.Kept {
		list = append(list, home[k])
	}
	if l.Called && l.Calls {
		list = append(list, lr)
	}
	return list
}

// Enter writes a function's beginning. The call before it has changed lr.
func (c *compiler) Enter() {
	l := &c.Frames[c.Fn]
	if c.Fn == 0 {
		c.changes(lr)
	}
	c.addTo(sp, sp, int64(-l.Total))
	for i, r := range c.kept(l) {
		c.access(accStore, 3, r, sp, int64(l.Size+8*i))
	}
}

// Leave writes a function's end.
func (c *compiler) Leave() {
	l := &c.Frames[c.Fn]
	for i, r := range c.kept(l) {
		c.access(accLoad, 3, r, sp, int64(l.Size+8*i))
		if c.Fn > 0 || c.Target.Helper && r != lr {
			c.Restore(words(r))
		}
	}
	c.addTo(sp, sp, int64(l.Total))
	c.put(0xd65f03c0) // ret
}

// place is memory at base + off.
type place struct {
	base reg
	off  int64
}

// place is the machine's form of m. An address in the region uses scratch0.
func (c *compiler) place(m plan.Mem) place {
	switch m.Base {
	case plan.BaseStack:
		return place{sp, int64(c.Frames[c.Fn].Size) + m.Off}
	case plan.BaseFrame:
		return place{sp, int64(c.Frames[c.Fn].Total) + m.Off}
	case plan.BaseRegion:
		addr := int64(c.Target.Region) + m.Off
		if !c.near(addr) {
			c.constant(scratch0, addr)
			return place{scratch0, 0}
		}
		c.page(scratch0, addr)
		return place{scratch0, addr & 0xfff}
	}
	return place{home[m.Base], m.Off}
}

// near reports whether adrp reaches addr from any place in the code.
func (c *compiler) near(addr int64) bool {
	const most = 1<<32 - 1<<24
	d := addr - int64(c.Target.Base)
	return d >= -most && d <= most
}

// page sets r to the start of the 4096 bytes that addr is in.
func (c *compiler) page(r reg, addr int64) {
	c.changes(r)
	pc := int64(c.Target.Base) + int64(len(c.Code))
	d := uint32(addr>>12 - pc>>12)
	c.put(0x90000000 | d&3<<29 | d>>2&(1<<19-1)<<5 | uint32(r))
}

// address sets r to the address of m.
func (c *compiler) address(r reg, m plan.Mem) {
	c.changes(r)
	if m.Base != plan.BaseRegion {
		p := c.place(m)
		c.addTo(r, p.base, p.off)
		return
	}
	addr := int64(c.Target.Region) + m.Off
	if !c.near(addr) {
		c.constant(r, addr)
		return
	}
	c.page(r, addr)
	c.addTo(r, r, addr&0xfff)
}

// addTo sets dst to x + n, for addresses; it uses scratch3 if n is large. Either register may be
// the stack pointer.
func (c *compiler) addTo(dst, x reg, n int64) {
	switch {
	case n == 0 && dst == x:
	case c.imm12(true, immAdd, dst, x, n) || n < 0 && c.imm12(true, immSub, dst, x, -n):
	default:
		c.constant(scratch3, n)
		// The extended form, in which register 31 is the stack pointer.
		c.put(0x8b206000 | uint32(scratch3)<<16 | uint32(x)<<5 | uint32(dst))
	}
}
