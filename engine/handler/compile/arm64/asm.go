package arm64

import (
	"encoding/binary"
	"math/bits"
)

// jump is an instruction that needs the distance to a label.
type jump struct {
	at, label int
	form      form
}

// form is the place of the distance in an instruction.
type form uint8

const (
	formBranch form = iota // b, bl: 26 bits
	formIf                 // b.cond, cbz: 19 bits
	formAdr                // adr: 21 bits of bytes
)

func (c *compiler) put(w uint32) { c.Code = binary.LittleEndian.AppendUint32(c.Code, w) }

// jump writes w, which refers to label n.
func (c *compiler) jump(w uint32, f form, n int) {
	c.jumps = append(c.jumps, jump{len(c.Code), n, f})
	c.put(w)
}

// Link writes the distances. It returns false if one does not fit.
func (c *compiler) Link() bool {
	for _, j := range c.jumps {
		d := int64(c.Labels[j.label] - j.at)
		w := binary.LittleEndian.Uint32(c.Code[j.at:])
		switch j.form {
		case formBranch:
			w |= uint32(d>>2) & (1<<26 - 1)
		case formIf:
			w |= uint32(d>>2) & (1<<19 - 1) << 5
		case formAdr:
			w |= uint32(d)&3<<29 | uint32(d>>2)&(1<<19-1)<<5
		}
		if !fits(d, 20) { // adr has the smallest range
			return false
		}
		binary.LittleEndian.PutUint32(c.Code[j.at:], w)
	}
	c.jumps = c.jumps[:0]
	return true
}

// fits reports whether d is a signed number of n bits.
func fits(d int64, n uint) bool { return d<<(64-n)>>(64-n) == d }

// sf is the bit that makes an instruction one of 64 bits.
func sf(wide bool) uint32 {
	if wide {
		return 1 << 31
	}
	return 0
}

// Instructions on three registers: dst = a op b.
const (
	opAdd  = 0x0b000000
	opSub  = 0x4b000000
	opSubs = 0x6b000000
	opAnd  = 0x0a000000
	opAnds = 0x6a000000
	opOrr  = 0x2a000000
	opOrn  = 0x2a200000
	opEor  = 0x4a000000
	opUdiv = 0x1ac00800
	opSdiv = 0x1ac00c00
	opLsl  = 0x1ac02000
	opLsr  = 0x1ac02400
	opAsr  = 0x1ac02800
)

func (c *compiler) three(wide bool, op uint32, dst, x, y reg) {
	c.put(sf(wide) | op | uint32(y)<<16 | uint32(x)<<5 | uint32(dst))
}

// multiply is dst = x*y + z, or z - x*y.
func (c *compiler) multiply(wide, subtract bool, dst, x, y, z reg) {
	w := sf(wide) | 0x1b000000 | uint32(y)<<16 | uint32(z)<<10 | uint32(x)<<5 | uint32(dst)
	if subtract {
		w |= 1 << 15
	}
	c.put(w)
}

// Instructions with an immediate of 12 bits, optionally shifted by 12. Register 31 is the stack
// pointer; as the result of subs it is the zero register.
const (
	immAdd  = 0x11000000
	immSub  = 0x51000000
	immAdds = 0x31000000
	immSubs = 0x71000000
)

// imm12 writes op if n has the form of its immediate.
func (c *compiler) imm12(wide bool, op uint32, dst, x reg, n int64) bool {
	switch {
	case n >= 0 && n < 1<<12:
	case n >= 0 && n < 1<<24 && n&0xfff == 0:
		n = n>>12 | 1<<12
	default:
		return false
	}
	c.put(sf(wide) | op | uint32(n)<<10 | uint32(x)<<5 | uint32(dst))
	return true
}

// Logical instructions with an immediate.
const (
	immAnd  = 0x12000000
	immOrr  = 0x32000000
	immEor  = 0x52000000
	immAnds = 0x72000000
)

// logical writes op if n has the form of its immediates: a repeated pattern of 2 to 64 bits, which
// is a rotated run of ones.
func (c *compiler) logical(wide bool, op uint32, dst, x reg, n uint64) bool {
	if !wide {
		n = n&0xffffffff | n<<32
	}
	if n == 0 || n == ^uint64(0) {
		return false
	}
	size := 64
	for size > 2 && n == bits.RotateLeft64(n, size/2) {
		size /= 2
	}
	mask := ^uint64(0) >> (64 - uint(size))
	piece := n & mask
	ones := bits.OnesCount64(piece)
	for turn := range size {
		run := uint64(1)<<uint(ones) - 1
		if turned := (run>>uint(turn) | run<<uint(size-turn)) & mask; turned != piece {
			continue
		}
		imms := uint32(-size<<1)&0x3f | uint32(ones-1)
		w := sf(wide) | op | uint32(turn)<<16 | imms<<10 | uint32(x)<<5 | uint32(dst)
		if size == 64 {
			w |= 1 << 22
		}
		c.put(w)
		return true
	}
	return false
}

// bitfield is ubfm or sbfm: dst = bits from to to of x, extended.
func (c *compiler) bitfield(wide, signed bool, dst, x reg, from, to int) {
	w := sf(wide) | 0x53000000
	if signed {
		w = sf(wide) | 0x13000000
	}
	if wide {
		w |= 1 << 22
	}
	c.put(w | uint32(from)<<16 | uint32(to)<<10 | uint32(x)<<5 | uint32(dst))
}

// Memory accesses; the caller adds the size.
const (
	accStore = 0
	accLoad  = 1 << 22
	accLoadS = 2 << 22 // signed, to 64 bits
)

// access writes a load or store of 1<<size bytes at base + off, if off has a supported form.
func (c *compiler) access(acc, size uint32, r, base reg, off int64) bool {
	w := size<<30 | acc | uint32(base)<<5 | uint32(r)
	switch {
	case off >= 0 && off&(1<<size-1) == 0 && off>>size < 1<<12:
		c.put(w | 0x39000000 | uint32(off>>size)<<10)
	case fits(off, 9):
		c.put(w | 0x38000000 | uint32(off)&0x1ff<<12)
	default:
		return false
	}
	return true
}

// accessReg writes one at base + index.
func (c *compiler) accessReg(acc, size uint32, r, base, index reg) {
	c.put(size<<30 | acc | 0x38206800 | uint32(index)<<16 | uint32(base)<<5 | uint32(r))
}

// Conditions of b.cond.
const (
	condEq = 0x0
	condNe = 0x1
	condHS = 0x2
	condLO = 0x3
	condHI = 0x8
	condLS = 0x9
	condGE = 0xa
	condLT = 0xb
	condGT = 0xc
	condLE = 0xd
)

// Branch jumps to label n.
func (c *compiler) Branch(n int) { c.jump(0x14000000, formBranch, n) }

func (c *compiler) branchIf(cond uint32, n int) { c.jump(0x54000000|cond, formIf, n) }

// branchZero jumps to label n if r is 0, or if it is not; it keeps the flags.
func (c *compiler) branchZero(wide, not bool, r reg, n int) {
	w := sf(wide) | 0x34000000 | uint32(r)
	if not {
		w |= 1 << 24
	}
	c.jump(w, formIf, n)
}
