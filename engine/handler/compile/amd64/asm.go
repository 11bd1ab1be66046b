package amd64

import (
	"encoding/binary"
	"math"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// place is the operand of ModRM: a register, memory at base + disp, or memory at an address near
// the code.
type place struct {
	reg  reg // a register itself, or none
	base reg // memory: none means the address disp
	disp int64

	region bool // an address in the maps' region
}

func at(base reg, disp int64) place { return place{reg: none, base: base, disp: disp} }
func is(r reg) place                { return place{reg: r} }

// inst is an instruction: opcode op of one to three bytes, beginning with the prefixes (66, f3)
// that belong to it.
type inst struct {
	prefix byte // 66, f0 or f3, 0: none
	wide   bool // 64 bits
	op     []byte
	reg    reg // ModRM's reg, or the opcode's extension
	rm     place
	byteOp bool // reg or rm is a byte register: needs REX to be sil, dil
	imm    int64
	immLen int // bytes
}

// jump is a place in the code for the distance to a label.
type jump struct {
	at, size int
	label    int
}

func (c *compiler) bytes(p ...byte) { c.Code = append(c.Code, p...) }

// put writes an instruction with ModRM.
func (c *compiler) put(i inst) {
	if i.prefix != 0 {
		c.bytes(i.prefix)
	}
	rex := byte(0)
	if i.wide {
		rex |= 8
	}
	rex |= byte(i.reg>>3&1) << 2
	switch {
	case i.rm.reg != none:
		rex |= byte(i.rm.reg >> 3 & 1)
	case i.rm.base != none:
		rex |= byte(i.rm.base >> 3 & 1)
	}
	if rex != 0 || i.byteOp && (i.reg >= rsp || i.rm.reg != none && i.rm.reg >= rsp) {
		c.bytes(0x40 | rex)
	}
	c.bytes(i.op...)
	c.modrm(i.reg&7, i.rm, i.immLen)
	c.number(i.imm, i.immLen)
}

// modrm writes ModRM, SIB and displacement; behind more bytes follow.
func (c *compiler) modrm(r reg, p place, behind int) {
	field := byte(r) << 3
	switch {
	case p.reg != none:
		c.bytes(0xc0 | field | byte(p.reg&7))
		return
	case p.base == none: // rip-relative
		c.bytes(field | 5)
		c.relativeTo(arch.Addr(p.disp), behind)
		c.relative[len(c.relative)-1].Region = p.region
		return
	}
	mode, size := byte(0x80), 4
	switch {
	case p.disp == 0 && p.base&7 != rbp:
		mode, size = 0, 0
	case p.disp >= math.MinInt8 && p.disp <= math.MaxInt8:
		mode, size = 0x40, 1
	}
	c.bytes(mode | field | byte(p.base&7))
	if p.base&7 == rsp {
		c.bytes(0x24)
	}
	c.number(p.disp, size)
}

// relativeTo writes the distance to an address from the end of the instruction, which is behind
// bytes further on.
func (c *compiler) relativeTo(addr arch.Addr, behind int) {
	c.relative = append(c.relative, plan.Relative{At: len(c.Code)})
	c.number(int64(addr)-int64(c.Target.Base)-int64(len(c.Code))-4-int64(behind), 4)
}

// number writes the low size bytes of n.
func (c *compiler) number(n int64, size int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	c.bytes(b[:size]...)
}

// near reports whether addr can be reached with a relative operand from any place in the code.
func (c *compiler) near(addr arch.Addr) bool {
	const most = math.MaxInt32 - 1<<20 // the code is shorter
	d := int64(addr - c.Target.Base)
	return d >= -most && d <= most
}

// condition of a jump, as instructions have it; always is none.
type condition byte

const (
	ifBelow    condition = 0x2
	ifNotBelow condition = 0x3
	ifEqual    condition = 0x4
	ifNot      condition = 0x5
	ifAbove    condition = 0x7
	always     condition = 0xff
)

// jump writes a jump to label n.
func (c *compiler) jump(when condition, n int) {
	if c.short(n) {
		if when == always {
			c.bytes(0xeb)
		} else {
			c.bytes(0x70 | byte(when))
		}
		c.distance(n, 1)
		return
	}
	if when == always {
		c.bytes(0xe9)
	} else {
		c.bytes(0x0f, 0x80|byte(when))
	}
	c.distance(n, 4)
}

// distance reserves size bytes for the distance to label n.
func (c *compiler) distance(n, size int) {
	c.jumps = append(c.jumps, jump{len(c.Code), size, n})
	c.number(0, size)
}

// short reports whether a jump to label n from here is short: it was so in the pass before, and
// code does not grow from pass to pass. The position of this jump in that pass is not known. The
// distance of a backward jump is known; a forward jump is not further than from the present
// position.
func (c *compiler) short(n int) bool {
	const most = 120
	if n >= len(c.Old) {
		return false
	}
	if to := c.Labels[n]; to >= 0 {
		return len(c.Code)-to <= most
	}
	return c.Old[n]-len(c.Code) <= most
}

// Link writes the distances. It returns false if one does not fit.
func (c *compiler) Link() bool {
	for _, j := range c.jumps {
		d := c.Labels[j.label] - j.at - j.size
		if j.size == 1 && d != int(int8(d)) {
			return false
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(d))
		copy(c.Code[j.at:j.at+j.size], b[:])
	}
	c.jumps = c.jumps[:0]
	c.linked = append(c.linked[:0], c.relative...)
	c.relative = c.relative[:0]
	return true
}
