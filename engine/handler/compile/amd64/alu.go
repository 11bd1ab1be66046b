package amd64

import (
	"math"
	"math/bits"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Opcodes with several uses.
var (
	lea     = []byte{0x8d}
	movFrom = []byte{0x8b} // reg = rm
	movTo   = []byte{0x89} // rm = reg
	movImm  = []byte{0xc7}
	cmp     = []byte{0x39} // rm - reg
	cmpFrom = []byte{0x3b} // reg - rm
	test    = []byte{0x85}
	immByte = []byte{0x83} // rm op= imm8, the operation in reg
	immLong = []byte{0x81}
	imulReg = []byte{0x0f, 0xaf}
	shiftBy = []byte{0xc1}
	shiftCL = []byte{0xd3}
	unary   = []byte{0xf7}
	movzx8  = []byte{0x0f, 0xb6}
	movzx16 = []byte{0x0f, 0xb7}
	movsx8  = []byte{0x0f, 0xbe}
	movsx16 = []byte{0x0f, 0xbf}
	movsxd  = []byte{0x63}
)

// group numbers add, or, and, sub, xor and cmp as opcodes do that have them all; the opcode of the
// register form is 8 times that + 1.
type group = reg

const (
	groupAdd group = 0
	groupOr  group = 1
	groupAnd group = 4
	groupSub group = 5
	groupXor group = 6
	groupCmp group = 7
)

var groups = map[uint8]group{
	program.AluAdd: groupAdd, program.AluOr: groupOr, program.AluAnd: groupAnd,
	program.AluSub: groupSub, program.AluXor: groupXor,
}

// changes records that the function changes registers.
func (c *compiler) changes(list ...reg) { c.Change(words(list...)) }

// constant sets r, and keeps the flags.
func (c *compiler) constant(r reg, n int64) {
	c.changes(r)
	rex := byte(0)
	if r >= r8 {
		rex = 0x41
	}
	switch {
	case n == 0 && c.Flagged:
		c.Flags = true
		c.put(inst{op: []byte{0x31}, reg: r, rm: is(r)})
	case n == int64(uint32(n)):
		if rex != 0 {
			c.bytes(rex)
		}
		c.bytes(0xb8 | byte(r&7))
		c.number(n, 4)
	case n == int64(int32(n)):
		c.put(inst{wide: true, op: movImm, rm: is(r), imm: n, immLen: 4})
	default:
		c.bytes(0x48|rex, 0xb8|byte(r&7))
		c.number(n, 8)
	}
}

// address sets r to the address of m.
func (c *compiler) address(r reg, m plan.Mem) {
	if addr := c.Target.Region + arch.Addr(m.Off); m.Base == plan.BaseRegion && !c.near(addr) {
		c.constant(r, int64(addr))
		return
	}
	c.changes(r)
	c.put(inst{wide: true, op: lea, reg: r, rm: c.place(m)})
}

// move sets dst to src; unless wide is set, it moves 32 bits and clears the upper half.
func (c *compiler) move(wide bool, dst, src reg) {
	c.changes(dst)
	c.put(inst{wide: wide, op: movTo, reg: src, rm: is(dst)})
}

// source returns the register with r's value; R10's value is computed when it is needed.
func (c *compiler) source(r uint8) reg {
	if r == program.R10 {
		c.address(scratch0, plan.Mem{Base: plan.BaseStack})
		return scratch0
	}
	return home[r]
}

// withImm writes an instruction of g with an immediate of 32 bits.
func (c *compiler) withImm(wide bool, g group, p place, n int64, prefix byte) {
	c.Flags = true
	if n >= math.MinInt8 && n <= math.MaxInt8 {
		c.put(inst{prefix: prefix, wide: wide, op: immByte, reg: g, rm: p, imm: n, immLen: 1})
		return
	}
	c.put(inst{prefix: prefix, wide: wide, op: immLong, reg: g, rm: p, imm: n, immLen: 4})
}

func (c *compiler) alu(o *plan.Op) {
	switch o.Fn {
	case program.AluMul:
		c.multiply(o)
	case program.AluDiv, program.AluMod:
		c.divide(o)
	case program.AluLsh, program.AluRsh, program.AluArsh:
		c.shift(o)
	default:
		c.simple(o)
	}
}

// simple writes operations that accept every operand; adding a constant keeps the flags.
func (c *compiler) simple(o *plan.Op) {
	dst, g, n := home[o.Dst], groups[o.Fn], int64(int32(o.Imm))
	c.changes(dst)
	if p, ok := c.loaded(o.Src); ok {
		c.Flags = true
		c.put(inst{wide: o.Wide, op: []byte{byte(g)<<3 | 3}, reg: dst, rm: p})
		return
	}
	switch {
	case !o.UsesImm():
		c.Flags = true
		c.put(inst{wide: o.Wide, op: []byte{byte(g)<<3 | 1}, reg: c.source(o.Src), rm: is(dst)})
	case g == groupAdd:
		c.put(inst{wide: o.Wide, op: lea, reg: dst, rm: at(dst, n)})
	case g == groupSub && n != math.MinInt32:
		c.put(inst{wide: o.Wide, op: lea, reg: dst, rm: at(dst, -n)})
	default:
		c.withImm(o.Wide, g, is(dst), n, 0)
	}
}

func (c *compiler) multiply(o *plan.Op) {
	dst := home[o.Dst]
	c.changes(dst)
	c.Flags = true
	if o.UsesImm() {
		c.put(inst{wide: o.Wide, op: []byte{0x69}, reg: dst, rm: is(dst), imm: int64(int32(o.Imm)), immLen: 4})
		return
	}
	c.put(inst{wide: o.Wide, op: imulReg, reg: dst, rm: is(c.source(o.Src))})
}

var shifts = map[uint8]reg{program.AluLsh: 4, program.AluRsh: 5, program.AluArsh: 7}

// shift shifts by a constant or by cl; the machine masks the count as the program expects.
func (c *compiler) shift(o *plan.Op) {
	dst, by := home[o.Dst], shifts[o.Fn]
	c.changes(dst)
	c.Flags = true
	if o.UsesImm() {
		c.put(inst{wide: o.Wide, op: shiftBy, reg: by, rm: is(dst), imm: o.Imm, immLen: 1})
		return
	}
	src := c.source(o.Src)
	if src == rcx && dst != rcx {
		c.put(inst{wide: o.Wide, op: shiftCL, reg: by, rm: is(dst)})
		return
	}
	if dst != rcx && o.Live>>program.R4&1 == 0 { // rcx is not needed later
		c.move(false, rcx, src)
		c.put(inst{wide: o.Wide, op: shiftCL, reg: by, rm: is(dst)})
		return
	}
	work := dst
	if dst == rcx {
		work = scratch1
	}
	c.move(true, scratch1, rcx) // rcx's value, or the value to shift
	c.put(inst{op: movTo, reg: src, rm: is(rcx)})
	c.put(inst{wide: o.Wide, op: shiftCL, reg: by, rm: is(work)})
	c.put(inst{wide: true, op: movTo, reg: scratch1, rm: is(rcx)})
}

// extend sets dst to the low size bytes of src with their sign.
func (c *compiler) extend(wide bool, size uint8, dst reg, src place) {
	c.changes(dst)
	i := inst{wide: wide, reg: dst, rm: src}
	switch size {
	case 1:
		i.op, i.byteOp = movsx8, true
	case 2:
		i.op = movsx16
	case 4:
		i.op = movsxd
	}
	c.put(i)
}

// truncate sets dst to the low size bytes of src.
func (c *compiler) truncate(size uint8, dst reg, src place) {
	c.changes(dst)
	i := inst{reg: dst, rm: src}
	switch size {
	case 1:
		i.op, i.byteOp = movzx8, true
	case 2:
		i.op = movzx16
	case 4:
		i.op = movFrom
	case 8:
		i.op, i.wide = movFrom, true
	}
	c.put(i)
}

// swap reverses the low size bytes of r.
func (c *compiler) swap(size uint8, r reg) {
	c.changes(r)
	if size == 2 {
		c.Flags = true
		c.put(inst{prefix: 0x66, op: shiftBy, reg: 0, rm: is(r), imm: 8, immLen: 1}) // rol
		c.truncate(2, r, is(r))
		return
	}
	rex := byte(0x40)
	if size == 8 {
		rex |= 8
	}
	if r >= r8 {
		rex |= 1
	}
	if rex != 0x40 {
		c.bytes(rex)
	}
	c.bytes(0x0f, 0xc8|byte(r&7)) // bswap
}

func (c *compiler) negate(o *plan.Op) {
	c.changes(home[o.Dst])
	c.Flags = true
	c.put(inst{wide: o.Wide, op: unary, reg: 3, rm: is(home[o.Dst])})
}

// bitLength finds the highest set bit, and sets dst to -1 for 0, for which the processor's result
// is undefined.
func (c *compiler) bitLength(dst, src reg) {
	c.changes(dst)
	c.Flags = true
	c.put(inst{wide: true, op: []byte{0x0f, 0xbd}, reg: dst, rm: is(src)}) // bsr
	c.bytes(0x75, 7)                                                       // jnz, over
	c.put(inst{wide: true, op: []byte{0xc7}, rm: is(dst), imm: -1, immLen: 4})
	c.put(inst{wide: true, op: lea, reg: dst, rm: at(dst, 1)})
}

// shiftOf returns the n with 1<<n == by, -1 if there is none.
func shiftOf(by int) int {
	if by <= 0 || by&(by-1) != 0 {
		return -1
	}
	return bits.TrailingZeros(uint(by))
}
