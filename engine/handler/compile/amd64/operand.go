package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// inPlace reports whether only the next operation needs the value of load i, and can use it from
// memory.
func (c *compiler) inPlace(i int) bool {
	o := &c.Ops[i]
	for i++; i < len(c.Ops) && c.Ops[i].Kind == plan.Nop && !c.Ops[i].Label; i++ {
	}
	if i == len(c.Ops) || c.Ops[i].Label || o.Signed || o.Mem.Base == plan.BaseFrame {
		return false
	}
	u := &c.Ops[i]
	fits := o.Size == 8 || o.Size == 4 && !u.Wide
	_, simple := groups[u.Fn]
	switch {
	case !fits || u.Live>>o.Dst&1 != 0 || u.Src == u.Dst || u.Src == program.R10 || u.Dst == program.R10:
		return false
	case u.Kind == plan.Jump:
		return u.Src == o.Dst || u.Dst == o.Dst
	}
	return u.Kind == plan.Alu && simple && u.Src == o.Dst
}

// bySign are comparisons with 0 by the flags after arithmetic.
var bySign = map[uint8]condition{
	program.JmpEq: ifEqual, program.JmpNe: ifNot, program.JmpSlt: 0x8, program.JmpSge: 0x9,
}

// flagged reports whether the operation before jump i has set the flags for the jump's comparison
// with 0.
func (c *compiler) flagged(i int) bool {
	o := &c.Ops[i]
	if o.Label || !o.UsesImm() || o.Imm != 0 {
		return false
	}
	for i--; i >= 0 && c.Ops[i].Kind == plan.Nop && !c.Ops[i].Label; i-- {
	}
	if i < 0 {
		return false
	}
	p := &c.Ops[i]
	g, simple := groups[p.Fn]
	adds := g == groupAdd || g == groupSub // with a constant these keep the flags
	return p.Kind == plan.Alu && simple && p.Dst == o.Dst && p.Wide == o.Wide && !(p.UsesImm() && adds)
}

// loaded returns the place of register r's value, if an in-place load has left it in memory.
func (c *compiler) loaded(r uint8) (p place, ok bool) {
	o := c.left
	if o == nil || o.Dst != r {
		return place{}, false
	}
	c.left = nil
	return c.place(o.Mem), true
}

// jumpIfLoaded is jumpIf with one side of the comparison in memory.
func (c *compiler) jumpIfLoaded(o *plan.Op, p place, isSrc bool) {
	n := int64(int32(o.Imm))
	switch {
	case o.UsesImm() && o.Fn == program.JmpSet:
		c.put(inst{wide: o.Wide, op: unary, reg: 0, rm: p, imm: n, immLen: 4})
	case o.UsesImm():
		c.withImm(o.Wide, groupCmp, p, n, 0)
	case o.Fn == program.JmpSet && isSrc:
		c.put(inst{wide: o.Wide, op: test, reg: home[o.Dst], rm: p})
	case o.Fn == program.JmpSet:
		c.put(inst{wide: o.Wide, op: test, reg: home[o.Src], rm: p})
	case isSrc:
		c.put(inst{wide: o.Wide, op: cmpFrom, reg: home[o.Dst], rm: p})
	default:
		c.put(inst{wide: o.Wide, op: cmp, reg: home[o.Src], rm: p})
	}
	c.jump(conditions[o.Fn], o.To)
}
