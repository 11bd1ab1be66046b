package amd64

import (
	"encoding/binary"
	"math"

	"github.com/ptracer/ptracer/arch"
)

// place is the operand that ModRM names: a register, or memory at base + disp,
// or at an address near the code.
type place struct {
	reg  reg // a register itself, or none
	base reg // memory: none means the address disp
	disp int64
}

func at(base reg, disp int64) place { return place{none, base, disp} }
func is(r reg) place                { return place{reg: r} }

// inst is an instruction: opcode op of one to three bytes, in which prefixes
// that belong to it (66, f3) come first.
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

// jump is a place in the code where the distance to a label has to go.
type jump struct {
	at, size int
	label    int
}

// asm collects machine code.
type asm struct {
	base   arch.Addr
	code   []byte
	labels []int // offsets, by number
	jumps  []jump
	// old are the labels of the pass before, nil: all jumps are long.
	old []int
}

func (a *asm) bytes(p ...byte) { a.code = append(a.code, p...) }

// put writes an instruction with ModRM.
func (a *asm) put(i inst) {
	if i.prefix != 0 {
		a.bytes(i.prefix)
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
		a.bytes(0x40 | rex)
	}
	a.bytes(i.op...)
	a.modrm(i.reg&7, i.rm, i.immLen)
	a.number(i.imm, i.immLen)
}

// modrm writes ModRM, SIB and displacement; behind bytes follow them.
func (a *asm) modrm(r reg, p place, behind int) {
	field := byte(r) << 3
	switch {
	case p.reg != none:
		a.bytes(0xc0 | field | byte(p.reg&7))
		return
	case p.base == none: // rip-relative
		a.bytes(field | 5)
		next := int64(a.base) + int64(len(a.code)) + 4 + int64(behind)
		a.number(p.disp-next, 4)
		return
	}
	mode, size := byte(0x80), 4
	switch {
	case p.disp == 0 && p.base&7 != rbp:
		mode, size = 0, 0
	case p.disp >= math.MinInt8 && p.disp <= math.MaxInt8:
		mode, size = 0x40, 1
	}
	a.bytes(mode | field | byte(p.base&7))
	if p.base&7 == rsp {
		a.bytes(0x24)
	}
	a.number(p.disp, size)
}

// number writes the low size bytes of n.
func (a *asm) number(n int64, size int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	a.bytes(b[:size]...)
}

// near is whether addr can be reached relative to any place in the code.
func (a *asm) near(addr arch.Addr) bool {
	const most = math.MaxInt32 - 1<<20 // the code is shorter
	d := int64(addr - a.base)
	return d >= -most && d <= most
}

// label says that label n is here.
func (a *asm) label(n int) { a.labels[n] = len(a.code) }

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

// jump writes a jump to label n if c.
func (a *asm) jump(c condition, n int) {
	if a.short(n) {
		if c == always {
			a.bytes(0xeb)
		} else {
			a.bytes(0x70 | byte(c))
		}
		a.distance(n, 1)
		return
	}
	if c == always {
		a.bytes(0xe9)
	} else {
		a.bytes(0x0f, 0x80|byte(c))
	}
	a.distance(n, 4)
}

// distance leaves size bytes for the distance to label n.
func (a *asm) distance(n, size int) {
	a.jumps = append(a.jumps, jump{len(a.code), size, n})
	a.number(0, size)
}

// short is whether a jump to label n from here is: in the pass before it was
// near enough, and code does not grow from pass to pass. Where here was then
// is not known; a jump backwards knows its distance, a jump forwards is not
// further than from the place that is now here.
func (a *asm) short(n int) bool {
	const most = 120
	if n >= len(a.old) {
		return false
	}
	if to := a.labels[n]; to >= 0 {
		return len(a.code)-to <= most
	}
	return a.old[n]-len(a.code) <= most
}

// link writes the distances. It is false if one does not fit.
func (a *asm) link() bool {
	for _, j := range a.jumps {
		d := a.labels[j.label] - j.at - j.size
		if j.size == 1 && d != int(int8(d)) {
			return false
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(d))
		copy(a.code[j.at:j.at+j.size], b[:])
	}
	return true
}
