package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// What a loop keeps at the bottom of its function's stack, in bytes from rsp.
const (
	loopCount = 0  // times gone round
	loopLimit = 8  // times to go round
	loopArg   = 16 // what the function is given
	loopCode  = 24 // its address, if it is not known
	loopBytes = 32
)

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
	above := 0 // the frame
	if f > 0 {
		for r := program.R6; r <= program.R9; r++ {
			if changed>>r&1 != 0 {
				l.kept = append(l.kept, home[r])
			}
		}
	}
	if f > 0 || c.Target.Called {
		above = 8 + 8*len(l.kept)
	}
	if above == 0 || calls {
		l.size += -(l.size + above) & 15
	}
	return l
}

// enter is a function's beginning.
func (c *compiler) enter() {
	l := &c.frames[c.fn]
	for _, r := range l.kept {
		if r >= r8 {
			c.bytes(0x41)
		}
		c.bytes(0x50 | byte(r&7)) // push
	}
	c.moveStack(-l.size)
}

// leave is its end.
func (c *compiler) leave() {
	l := &c.frames[c.fn]
	c.moveStack(l.size)
	for i := len(l.kept) - 1; i >= 0; i-- {
		r := l.kept[i]
		if r >= r8 {
			c.bytes(0x41)
		}
		c.bytes(0x58 | byte(r&7)) // pop
		c.clobbered[c.fn] &^= words(r)
	}
	c.bytes(0xc3) // ret
}

// moveStack adds n to rsp and keeps the flags.
func (c *compiler) moveStack(n int) {
	if n != 0 {
		c.put(inst{wide: true, op: lea, reg: rsp, rm: at(rsp, int64(n))})
	}
}

// depth is how many bytes of stack function f needs with all that it calls; n
// functions are above it.
func (c *compiler) depth(f, n int) (most int) {
	if n > program.MaxFrames {
		return 0
	}
	fn, l := &c.Funcs[f], &c.frames[f]
	for i := fn.Start; i < fn.End; i++ {
		switch o := &c.Ops[i]; o.Kind {
		case plan.Call:
			most = max(most, 8)
		case plan.CallFunc, plan.Repeat:
			for to := range c.Funcs {
				if to == o.To || o.To < 0 && to > 0 && to != f {
					most = max(most, c.depth(to, n+1))
				}
			}
		}
	}
	most += l.size + 8*len(l.kept)
	if f > 0 || c.Target.Called {
		most += 8
	}
	return most
}

// stackPlace is the place at off from R10.
func (c *compiler) stackPlace(off int64) place {
	return at(rsp, int64(c.frames[c.fn].size)+off)
}

// framePlace is the place at off in the frame; the program itself knows where
// that is, the functions that it calls do not.
func (c *compiler) framePlace(off int64) place {
	p := c.stackPlace(off)
	if c.Target.Called {
		p.disp += 8
	}
	return p
}

// place is the machine's form of m. What is out of reach goes through
// scratch0.
func (c *compiler) place(m plan.Mem) place {
	switch m.Base {
	case plan.BaseStack:
		return c.stackPlace(m.Off)
	case plan.BaseFrame:
		return c.framePlace(m.Off)
	case plan.BaseRegion:
		addr := int64(c.Target.Region) + m.Off
		if c.near(c.Target.Region) {
			return at(none, addr)
		}
		c.constant(scratch0, addr)
		return at(scratch0, 0)
	}
	return at(home[m.Base], m.Off)
}
