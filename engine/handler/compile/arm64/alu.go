package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// changes records that the function changes registers.
func (c *compiler) changes(list ...reg) { c.Change(words(list...)) }

// constant sets r, 16 bits per instruction, starting from all zeros or ones, or with one
// instruction if n has the form of a logical immediate.
func (c *compiler) constant(r reg, n int64) {
	c.changes(r)
	ones, zeros := 0, 0
	for at := 0; at < 64; at += 16 {
		switch uint16(n >> at) {
		case 0:
			zeros++
		case 0xffff:
			ones++
		}
	}
	if max(ones, zeros) < 3 && c.logical(true, immOrr, r, zero, uint64(n)) {
		return
	}
	const movn, movz, movk = 0x92800000, 0xd2800000, 0xf2800000
	op, rest := uint32(movz), uint16(0)
	if ones > zeros {
		op, rest = movn, 0xffff
	}
	part := func(at int, v uint16) { c.put(op | uint32(at/16)<<21 | uint32(v)<<5 | uint32(r)) }
	for at := 0; at < 64; at += 16 {
		switch v := uint16(n >> at); {
		case v == rest:
		case op == movk:
			part(at, v)
		default:
			part(at, v^rest)
			op = movk
		}
	}
	if op != movk {
		part(0, 0)
	}
}

// move sets dst to src; unless wide is set, it moves 32 bits and clears the upper half.
func (c *compiler) move(wide bool, dst, src reg) {
	c.changes(dst)
	c.three(wide, opOrr, dst, zero, src)
}

// source returns the register with r's value; R10's value is computed into scratch.
func (c *compiler) source(r uint8, scratch reg) reg {
	if r == program.R10 {
		c.address(scratch, plan.Mem{Base: plan.BaseStack})
		return scratch
	}
	return home[r]
}

// operand returns the register with o's operand; an immediate is loaded into scratch.
func (c *compiler) operand(o *plan.Op, scratch reg) reg {
	if !o.UsesImm() {
		return c.source(o.Src, scratch)
	}
	c.constant(scratch, o.Imm)
	return scratch
}

// threes are the operations that are one instruction on registers.
var threes = map[uint8]uint32{
	program.AluAdd: opAdd, program.AluSub: opSub, program.AluOr: opOrr, program.AluAnd: opAnd, program.AluXor: opEor,
	program.AluLsh: opLsl, program.AluRsh: opLsr, program.AluArsh: opAsr,
}

func (c *compiler) alu(o *plan.Op) {
	dst := home[o.Dst]
	c.changes(dst)
	if o.UsesImm() && c.aluImm(o, dst) {
		return
	}
	y := c.operand(o, scratch0)
	switch o.Fn {
	case program.AluMul:
		c.multiply(o.Wide, false, dst, dst, y, zero)
	case program.AluDiv, program.AluMod:
		c.divide(o, dst, y)
	default:
		c.three(o.Wide, threes[o.Fn], dst, dst, y)
	}
}

// aluImm writes an operation that has a form with an immediate, and reports whether it has.
func (c *compiler) aluImm(o *plan.Op, dst reg) bool {
	n, add, sub := o.Imm, uint32(immAdd), uint32(immSub)
	if !o.Wide {
		n = int64(int32(n))
	}
	top := 31
	if o.Wide {
		top = 63
	}
	switch o.Fn {
	case program.AluSub:
		add, sub = sub, add
		fallthrough
	case program.AluAdd:
		return c.imm12(o.Wide, add, dst, dst, n) || c.imm12(o.Wide, sub, dst, dst, -n)
	case program.AluOr:
		return c.logical(o.Wide, immOrr, dst, dst, uint64(n))
	case program.AluAnd:
		return c.logical(o.Wide, immAnd, dst, dst, uint64(n))
	case program.AluXor:
		return c.logical(o.Wide, immEor, dst, dst, uint64(n))
	case program.AluLsh:
		c.bitfield(o.Wide, false, dst, dst, -int(n)&top, top-int(n))
	case program.AluRsh:
		c.bitfield(o.Wide, false, dst, dst, int(n), top)
	case program.AluArsh:
		c.bitfield(o.Wide, true, dst, dst, int(n), top)
	default:
		return false
	}
	return true
}

// divide is division and modulo. The machine's results are the program's without a test: 0 for
// division by 0, the smallest number for that by -1; the remainders follow from these.
func (c *compiler) divide(o *plan.Op, dst, y reg) {
	op := uint32(opUdiv)
	if o.Signed {
		op = opSdiv
	}
	if o.Fn == program.AluDiv {
		c.three(o.Wide, op, dst, dst, y)
		return
	}
	c.changes(scratch1)
	c.three(o.Wide, op, scratch1, dst, y)
	c.multiply(o.Wide, true, dst, scratch1, y, dst)
}

// extend sets dst to the low size bytes of src, sign-extended to 32 or 64 bits.
func (c *compiler) extend(wide bool, size uint8, dst, src reg) {
	c.changes(dst)
	if size == 8 {
		c.move(true, dst, src)
		return
	}
	c.bitfield(wide, true, dst, src, 0, int(size)*8-1)
}

// truncate sets dst to the low size bytes of src.
func (c *compiler) truncate(size uint8, dst, src reg) {
	if size >= 4 {
		c.move(size == 8, dst, src)
		return
	}
	c.changes(dst)
	c.bitfield(false, false, dst, src, 0, int(size)*8-1)
}

// swap reverses the low size bytes of r.
func (c *compiler) swap(size uint8, r reg) {
	c.changes(r)
	both := uint32(r)<<5 | uint32(r)
	switch size {
	case 2:
		c.put(0x5ac00400 | both) // rev16
		c.truncate(2, r, r)
	case 4:
		c.put(0x5ac00800 | both) // rev w
	case 8:
		c.put(0xdac00c00 | both) // rev x
	}
}

// bitLength sets dst to 64 minus the number of zeros before the highest set bit.
func (c *compiler) bitLength(dst, src reg) {
	c.changes(dst)
	c.put(0xdac01000 | uint32(src)<<5 | uint32(dst)) // clz
	c.three(true, opSub, dst, zero, dst)
	c.put(0x91000000 | 64<<10 | uint32(dst)<<5 | uint32(dst)) // add $64
}

func (c *compiler) negate(o *plan.Op) {
	c.changes(home[o.Dst])
	c.three(o.Wide, opSub, home[o.Dst], zero, home[o.Dst])
}
