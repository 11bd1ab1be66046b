package amd64

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/failure"
)

// ErrInvalid is wrapped by errors about invalid instructions.
var ErrInvalid = errors.New("invalid instruction")

// ErrTruncated is wrapped by errors about code that ends inside an instruction.
var ErrTruncated = errors.New("truncated instruction")

const maxInst = 15

// opmap is an opcode map, with its number in VEX, EVEX and XOP.
type opmap byte

const (
	mapOne  opmap = 0
	map0F   opmap = 1
	map0F38 opmap = 2
	map0F3A opmap = 3
	mapFP5  opmap = 5 // EVEX only
	mapFP6  opmap = 6 // EVEX only
	mapXOP8 opmap = 8
	mapXOP9 opmap = 9
	mapXOPA opmap = 10
)

// inst is a decoded instruction, as far as its length, its memory operand and its effect on control
// flow require.
type inst struct {
	len      int
	opsize   bool // 66
	addrsize bool // 67
	lock     bool // f0
	rep      byte // the last of f2 and f3
	seg      byte // 64 or 65, the only segments with a base
	rex      byte // 0100WRXB; 0: none. The bits of VEX, EVEX and XOP are stored here, too
	vector   bool // VEX, EVEX or XOP
	table    opmap
	op       byte
	opAt     int
	modrm    byte
	modrmAt  int // 0: no ModRM
	sib      byte
	hasSIB   bool
	disp     int32
	dispAt   int
	dispLen  int
	immAt    int // relative branch targets count as immediates
	immLen   int
}

func (in *inst) rexW() bool { return in.rex&8 != 0 }
func (in *inst) rexX() byte { return in.rex >> 1 & 1 }
func (in *inst) rexB() byte { return in.rex & 1 }

func (in *inst) mod() byte { return in.modrm >> 6 }
func (in *inst) reg() byte { return in.modrm >> 3 & 7 }
func (in *inst) rm() byte  { return in.modrm & 7 }

// memory reports whether the instruction has a memory operand by ModRM.
func (in *inst) memory() bool { return in.modrmAt != 0 && in.mod() != 3 }

// ripRelative reports whether that operand is relative to the next instruction.
func (in *inst) ripRelative() bool { return in.memory() && in.mod() == 0 && in.rm() == 5 }

// narrow reports whether a branch has a 16-bit operand size, which AMD's CPUs use and Intel's
// ignore.
func (in *inst) narrow() bool { return in.opsize && !in.rexW() }

// imm returns the sign-extended immediate.
func (in *inst) imm(code []byte) int64 {
	p := code[in.immAt:]
	switch in.immLen {
	case 1:
		return int64(int8(p[0]))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(p)))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(p)))
	case 8:
		return int64(binary.LittleEndian.Uint64(p))
	}
	return 0
}

// cursor reads one instruction.
type cursor struct {
	inst
	code []byte
	pos  int
	err  error
}

// parse decodes the instruction at the start of code.
func parse(code []byte) (inst, error) {
	c := cursor{code: code}
	c.prefixes()
	c.opcode()
	if c.lock && !c.memory() {
		c.invalid()
	}
	if c.err != nil {
		return inst{}, c.err
	}
	c.len = c.pos
	return c.inst, nil
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *cursor) invalid() {
	c.fail(fmt.Errorf("%w: % x", ErrInvalid, c.code[:min(c.pos, len(c.code))]))
}

// byte reads the next byte; after an error it returns 0.
func (c *cursor) byte() byte {
	b := c.peek()
	c.pos++
	return b
}

func (c *cursor) peek() byte {
	switch {
	case c.err != nil:
	case c.pos >= maxInst:
		c.fail(fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxInst))
	case c.pos >= len(c.code):
		c.fail(fmt.Errorf("%w: %d bytes are not enough", ErrTruncated, len(c.code)))
	default:
		return c.code[c.pos]
	}
	return 0
}

// skip skips n bytes and returns where they start.
func (c *cursor) skip(n int) int {
	at := c.pos
	for range n {
		c.byte()
	}
	return at
}

// prefixes reads the legacy prefixes and REX. A REX prefix has an effect only as the last prefix.
func (c *cursor) prefixes() {
	for c.err == nil {
		b := c.peek()
		switch {
		case b == 0x66:
			c.opsize = true
		case b == 0x67:
			c.addrsize = true
		case b == 0xf0:
			c.lock = true
		case b == 0xf2 || b == 0xf3:
			c.rep = b
		case b == 0x64 || b == 0x65:
			c.seg = b
		case b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e:
		case b&0xf0 == 0x40:
			c.pos++
			c.rex = b
			continue
		default:
			return
		}
		c.rex = 0
		c.pos++
	}
}

// opcode reads escape bytes or a vector prefix, the opcode and its operands.
func (c *cursor) opcode() {
	b := c.byte()
	switch {
	case b == 0x0f:
		c.escaped()
	case b == 0xc5 || b == 0xc4 || b == 0x62:
		c.vectorPrefix(b)
	case b == 0x8f && c.peek()&0x1f >= 8: // smaller values are pop
		c.vectorPrefix(b)
	default:
		c.setOp(b)
		c.operands(formatsOne[b])
		c.checkGroups()
	}
}

func (c *cursor) setOp(b byte) { c.op, c.opAt = b, c.pos-1 }

func (c *cursor) escaped() {
	b := c.byte()
	switch b {
	case 0x38:
		c.table = map0F38
		c.setOp(c.byte())
		c.operands('m')
	case 0x3a:
		c.table = map0F3A
		c.setOp(c.byte())
		c.operands('B')
	default:
		c.table = map0F
		c.setOp(b)
		if b == 0xb8 && c.rep != 0xf3 { // jmpe of Itanium
			c.invalid()
		}
		c.operands(formats0F[b])
	}
}

// vectorPrefix reads the rest of a VEX, EVEX or XOP prefix. These have the bits of REX inverted.
func (c *cursor) vectorPrefix(first byte) {
	if c.opsize || c.rep != 0 || c.lock || c.rex != 0 {
		c.invalid()
	}
	c.vector = true
	p0 := c.byte()
	c.rex = 0x40 | ^p0>>5&7
	switch first {
	case 0xc5:
		c.table = map0F
		c.rex = 0x40 | ^p0>>5&4
	case 0xc4:
		c.table = opmap(p0 & 0x1f)
		c.rex |= c.byte() >> 4 & 8
	case 0x8f:
		c.table = opmap(p0 & 0x1f)
		p1 := c.byte()
		c.rex |= p1 >> 4 & 8
		if p1&3 != 0 {
			c.invalid()
		}
	case 0x62:
		c.table = opmap(p0 & 7)
		p1 := c.byte()
		c.rex |= p1 >> 4 & 8
		c.byte()
		if p0&8 != 0 || p1&4 == 0 { // registers and maps of APX
			c.invalid()
		}
	}
	c.setOp(c.byte())
	c.operands(vectorFormat(first, c.table, c.op))
}

// vectorFormat returns the format of an opcode behind the vector prefix first.
func vectorFormat(first byte, table opmap, op byte) byte {
	evex, xop := first == 0x62, first == 0x8f
	switch {
	case xop && table == mapXOP8:
		return 'B'
	case xop && table == mapXOP9:
		return 'm'
	case xop && table == mapXOPA:
		return 'D'
	case xop:
		return '_'
	case table == map0F38, evex && (table == mapFP5 || table == mapFP6):
		return 'm'
	case table == map0F3A:
		return 'B'
	case table != map0F:
		return '_'
	}
	switch op {
	case 0x70, 0x71, 0x72, 0x73, 0xc2, 0xc4, 0xc5, 0xc6:
		return 'B'
	case 0x77: // vzeroupper, vzeroall
		if !evex {
			return '.'
		}
	}
	return 'm'
}

// operands reads the operands of a format; see formatsOne.
func (c *cursor) operands(format byte) {
	if (format == 'j' || format == 'J') && c.narrow() {
		c.fail(failure.Unsupportedf("branch of 16 bits: % x", c.code[:c.pos]))
	}
	switch format {
	case '.':
	case 'b', 'j':
		c.immediate(1)
	case 'w':
		c.immediate(2)
	case 'e':
		c.immediate(3)
	case 'z':
		c.immediate(c.sizeZ())
	case 'J':
		c.immediate(4)
	case 'v':
		c.immediate(c.sizeV())
	case 'o':
		c.offset()
	case 'r':
		c.modrmByte()
		c.modrm |= 0xc0 // control and debug registers: the CPU ignores mod
	case 'm', 'B', 'Z', 'D', 't', 'T', 'x':
		c.readModRM()
		c.immediate(c.groupImmediate(format))
	default:
		c.invalid()
	}
}

// groupImmediate returns the size of the immediate behind ModRM, in bytes.
func (c *cursor) groupImmediate(format byte) int {
	test := c.reg() < 2
	switch {
	case format == 'B', format == 't' && test:
		return 1
	case format == 'Z', format == 'T' && test:
		return c.sizeZ()
	case format == 'D':
		return 4
	case format == 'x' && (c.opsize || c.rep == 0xf2): // extrq, insertq
		return 2
	}
	return 0
}

func (c *cursor) sizeZ() int {
	if c.narrow() {
		return 2
	}
	return 4
}

func (c *cursor) sizeV() int {
	if c.rexW() {
		return 8
	}
	return c.sizeZ()
}

func (c *cursor) immediate(n int) {
	if n > 0 {
		c.immAt, c.immLen = c.skip(n), n
	}
}

// offset reads the address in mov's short form.
func (c *cursor) offset() {
	n := 8
	if c.addrsize {
		n = 4
	}
	c.immediate(n)
}

func (c *cursor) modrmByte() {
	c.modrmAt = c.pos
	c.modrm = c.byte()
}

// readModRM reads ModRM, SIB and displacement.
func (c *cursor) readModRM() {
	c.modrmByte()
	if c.mod() == 3 {
		return
	}
	base := c.rm()
	if base == numRSP {
		c.hasSIB = true
		c.sib = c.byte()
		base = c.sib & 7
	}
	switch {
	case c.mod() == 1:
		c.dispLen = 1
	case c.mod() == 2, base == numRBP:
		c.dispLen = 4
	default:
		return
	}
	c.dispAt = c.skip(c.dispLen)
	switch {
	case c.err != nil:
	case c.dispLen == 1:
		c.disp = int32(int8(c.code[c.dispAt]))
	default:
		c.disp = int32(binary.LittleEndian.Uint32(c.code[c.dispAt:]))
	}
}

// checkGroups refuses unassigned encodings among one-byte opcodes that have several instructions.
func (c *cursor) checkGroups() {
	bad := false
	switch c.op {
	case 0x8d: // lea of a register
		bad = c.mod() == 3
	case 0x8c:
		bad = c.reg() > 5
	case 0x8e: // no such segment, or cs
		bad = c.reg() > 5 || c.reg() == 1
	case 0x8f:
		bad = c.reg() != 0
	case 0xc6, 0xc7:
		bad = c.reg() != 0 && c.modrm != xbeginModRM
	case 0xfe:
		bad = c.reg() > 1
	case 0xff:
		bad = c.reg() == 7 || (c.reg() == 3 || c.reg() == 5) && c.mod() == 3
	}
	if bad {
		c.invalid()
	}
}
