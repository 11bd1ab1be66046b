package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// What a loop keeps at the bottom of its function's stack, in bytes from sp.
const (
	loopCount = 0  // times gone round
	loopLimit = 8  // times to go round
	loopArg   = 16 // what the function is given
	loopCode  = 24 // its address, if it is not known
	loopBytes = 32
)

// frame is a function's stack: from the stack pointer up, the words that loops
// keep (loopBytes), padding, the program's stack frame, registers kept for the
// caller. The stack pointer is always a multiple of 16.
type frame struct {
	size  int   // from the stack pointer to the end of the program's stack frame
	total int   // of all
	kept  []reg // of R6 to R9, and lr
}

// layout says how function f's stack looks.
func (c *compiler) layout(f int) (l frame) {
	fn := &c.Funcs[f]
	l.size = fn.Stack
	calls, loops, changed := false, false, uint16(0)
	for i := fn.Start; i < fn.End; i++ {
		o := &c.Ops[i]
		changed |= o.Defines()
		switch o.Kind {
		case plan.Call, plan.CallFunc:
			calls = true
		case plan.Repeat:
			calls, loops = true, true
		}
	}
	if loops {
		l.size += loopBytes
	}
	if f > 0 {
		for r := program.R6; r <= program.R9; r++ {
			if changed>>r&1 != 0 {
				l.kept = append(l.kept, home[r])
			}
		}
	}
	if calls && (f > 0 || c.Target.Called) {
		l.kept = append(l.kept, lr)
	}
	l.total = (l.size + 8*len(l.kept) + 15) &^ 15
	if f == 0 && !c.Target.Called {
		l.size = l.total
	}
	return l
}

// enter is a function's beginning.
func (c *compiler) enter() {
	l := &c.frames[c.fn]
	if l.total != 0 {
		c.addTo(sp, sp, int64(-l.total))
	}
	for i, r := range l.kept {
		c.access(accStore, 3, r, sp, int64(l.size+8*i))
	}
}

// leave is its end.
func (c *compiler) leave() {
	l := &c.frames[c.fn]
	for i, r := range l.kept {
		c.access(accLoad, 3, r, sp, int64(l.size+8*i))
		c.clobbered[c.fn] &^= words(r)
	}
	if l.total != 0 {
		c.addTo(sp, sp, int64(l.total))
	}
	c.put(0xd65f03c0) // ret
}

// depth is how many bytes of stack function f needs with all that it calls; n
// functions are above it.
func (c *compiler) depth(f, n int) (most int) {
	if n > program.MaxFrames {
		return 0
	}
	fn := &c.Funcs[f]
	for i := fn.Start; i < fn.End; i++ {
		if o := &c.Ops[i]; o.Kind == plan.CallFunc || o.Kind == plan.Repeat {
			for to := range c.Funcs {
				if to == o.To || o.To < 0 && to > 0 && to != f {
					most = max(most, c.depth(to, n+1))
				}
			}
		}
	}
	return most + c.frames[f].total
}

// place is memory at base + off.
type place struct {
	base reg
	off  int64
}

// place is the machine's form of m. What is near goes through scratch0.
func (c *compiler) place(m plan.Mem) place {
	switch m.Base {
	case plan.BaseStack:
		return place{sp, int64(c.frames[c.fn].size) + m.Off}
	case plan.BaseFrame:
		return place{sp, int64(c.frames[c.fn].total) + m.Off}
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

// near is whether adrp reaches addr from any place in the code.
func (c *compiler) near(addr int64) bool {
	const most = 1<<32 - 1<<24
	d := addr - int64(c.base)
	return d >= -most && d <= most
}

// page sets r to the start of addr's 4096 bytes.
func (c *compiler) page(r reg, addr int64) {
	c.changes(r)
	pc := int64(c.base) + int64(len(c.code))
	d := uint32(addr>>12 - pc>>12)
	c.put(0x90000000 | d&3<<29 | d>>2&(1<<19-1)<<5 | uint32(r))
}

// address sets r to the address of m.
func (c *compiler) address(r reg, m plan.Mem) {
	p := c.place(m)
	c.changes(r)
	if p.base == scratch0 && r != scratch0 { // then it was made for nothing else
		c.three(true, opOrr, r, zero, scratch0)
		p.base = r
		if p.off == 0 {
			return
		}
	}
	c.addTo(r, p.base, p.off)
}

// addTo is dst = x + n, of addresses, by scratch3 if n is large. The stack
// pointer may be any of them.
func (c *compiler) addTo(dst, x reg, n int64) {
	switch {
	case n == 0 && dst == x:
	case c.imm12(true, immAdd, dst, x, n) || n < 0 && c.imm12(true, immSub, dst, x, -n):
	default:
		c.constant(scratch3, n)
		// The extended form, in which 31 is the stack pointer.
		c.put(0x8b206000 | uint32(scratch3)<<16 | uint32(x)<<5 | uint32(dst))
	}
}
