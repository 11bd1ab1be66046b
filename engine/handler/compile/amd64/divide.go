package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// divide is division and modulo. The machine requires the dividend in rdx:rax, and traps at 0 and
// at the smallest number by -1. The program's result is 0 and the dividend in the first case, the
// dividend and 0 in the second.
func (c *compiler) divide(o *plan.Op) {
	dst, divisor := home[o.Dst], scratch2
	c.Flags = true
	done := c.NewLabel()
	if o.UsesImm() {
		n := int64(int32(o.Imm))
		if n == -1 && o.Signed {
			c.divideByMinus1(o)
			return
		}
		c.constant(divisor, n) // never 0: the plan guarantees it
	} else {
		src := c.source(o.Src)
		if o.Src < program.R10 && src != rax && src != rdx {
			divisor = src
		} else {
			c.move(true, divisor, src)
		}
		c.divideSpecial(o, divisor, done)
	}
	c.divideBy(o, dst, divisor)
	c.Label(done)
}

// divideSpecial handles divisors 0 and -1, and then continues at done.
func (c *compiler) divideSpecial(o *plan.Op, divisor reg, done int) {
	normal := c.NewLabel()
	if o.Signed {
		zero := c.NewLabel()
		c.put(inst{wide: o.Wide, op: test, reg: divisor, rm: is(divisor)})
		c.jump(ifEqual, zero)
		c.withImm(o.Wide, groupCmp, is(divisor), -1, 0)
		c.jump(ifNot, normal)
		c.divideByMinus1(o)
		c.jump(always, done)
		c.Label(zero)
	} else {
		c.put(inst{wide: o.Wide, op: test, reg: divisor, rm: is(divisor)})
		c.jump(ifNot, normal)
	}
	switch {
	case o.Fn == program.AluDiv:
		c.constant(home[o.Dst], 0)
	case !o.Wide:
		c.move(false, home[o.Dst], home[o.Dst])
	}
	c.jump(always, done)
	c.Label(normal)
}

func (c *compiler) divideByMinus1(o *plan.Op) {
	if o.Fn == program.AluDiv {
		c.negate(o)
	} else {
		c.constant(home[o.Dst], 0)
	}
}

// divideBy handles divisors that the machine accepts, in a register other than rax and rdx.
func (c *compiler) divideBy(o *plan.Op, dst, divisor reg) {
	// Keep the registers that do not receive the result.
	if dst != rax {
		c.move(true, scratch0, rax)
		c.put(inst{wide: true, op: movTo, reg: dst, rm: is(rax)})
	}
	if dst != rdx {
		c.move(true, scratch1, rdx)
	}
	extension := reg(6) // div
	if o.Signed {
		extension = 7 // idiv
		if o.Wide {
			c.bytes(0x48)
		}
		c.bytes(0x99) // cqo, cdq
	} else {
		c.put(inst{op: []byte{0x31}, reg: rdx, rm: is(rdx)})
	}
	c.put(inst{wide: o.Wide, op: unary, reg: extension, rm: is(divisor)})
	result := rax
	if o.Fn == program.AluMod {
		result = rdx
	}
	if result != dst {
		c.move(o.Wide, dst, result)
	} else {
		c.changes(dst)
	}
	if dst != rax {
		c.put(inst{wide: true, op: movTo, reg: scratch0, rm: is(rax)})
	}
	if dst != rdx {
		c.put(inst{wide: true, op: movTo, reg: scratch1, rm: is(rdx)})
	}
}
