package arm64

import (
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// userMask removes the pointer authentication code from a user address: it is above the 48 bits
// that Linux uses for addresses unless a program asks for longer ones
// (Documentation/arch/arm64/memory.rst). If the code is wrong, the CPU goes to a faulting address
// instead.
const userMask = 1<<48 - 1

var errEnd = failure.Unsupportedf("nothing is executed after it")

// Next evaluates conditions and registers. A system call's next instruction is the one behind it,
// except for rt_sigreturn: there the signal frame has it.
func (isa) Next(code []byte, at arch.Addr, r *arch.Regs, rd arch.Reader) (arch.Addr, error) {
	next, err := follow(code, at, r, rd)
	if err != nil {
		return 0, fmt.Errorf("arm64: next of %v: %w", at, err)
	}
	return next, nil
}

func follow(code []byte, at arch.Addr, r *arch.Regs, rd arch.Reader) (arch.Addr, error) {
	w, err := word(code, at)
	if err != nil {
		return 0, err
	}
	f := classify(w)
	if taken := conditions[f]; taken != nil && !taken(w, r) {
		return at + instLen, nil
	}
	if target := targets[f]; target != nil {
		return target(w, at), nil
	}
	switch f {
	case formBR, formBLR, formRet:
		return arch.Addr(read(r, w>>5&31)), nil
	case formBRAuth, formBLRAuth:
		return arch.Addr(read(r, w>>5&31)) & userMask, nil
	case formRetAuth, formRetAuthPC:
		return arch.Addr(r[regX30]) & userMask, nil
	case formBrk, formInvalid:
		return 0, errEnd
	case formSvc:
		if r[regX8] == nrSigreturn {
			return readAddr(rd, arch.Addr(r[regSP])+framePC)
		}
	}
	return at + instLen, nil
}

func readAddr(rd arch.Reader, at arch.Addr) (arch.Addr, error) {
	var buf [8]byte
	if err := rd(at, buf[:]); err != nil {
		return 0, err
	}
	return arch.Addr(binary.LittleEndian.Uint64(buf[:])), nil
}

// conditions report whether a conditional branch is taken.
var conditions = [numForms]func(w uint32, r *arch.Regs) bool{
	formCond:    func(w uint32, r *arch.Regs) bool { return holds(w&15, r[regPState]) },
	formZero:    zero,
	formBit:     bit,
	formCompare: compare,
}

// holds evaluates a condition code: bits 3:1 select it, bit 0 negates it, but al and nv always
// hold.
func holds(cond uint32, pstate uint64) bool {
	n, z := pstate&flagN != 0, pstate&flagZ != 0
	c, v := pstate&flagC != 0, pstate&flagV != 0
	if cond >= 14 {
		return true
	}
	yes := [7]bool{z, c, n, v, c && !z, n == v, n == v && !z}[cond>>1]
	return yes != (cond&1 != 0)
}

// zero evaluates cbz, or with bit 24 cbnz.
func zero(w uint32, r *arch.Regs) bool {
	value := read(r, w&31)
	if w>>31 == 0 {
		value = uint64(uint32(value))
	}
	return (value == 0) != (w>>24&1 != 0)
}

// bit evaluates tbz, or with bit 24 tbnz.
func bit(w uint32, r *arch.Regs) bool {
	n := w>>31<<5 | w>>19&31
	return read(r, w&31)>>n&1 == uint64(w>>24&1)
}

// compare evaluates cb<cc>: two registers, or with bit 24 a register and a number; bits 15:14 of
// the former narrow it to a byte (10) or a half word (11).
func compare(w uint32, r *arch.Regs) bool {
	width := uint(32)
	if w>>31 != 0 {
		width = 64
	}
	b := uint64(w >> 15 & 63)
	if w>>24&1 == 0 {
		b = read(r, w>>16&31)
		switch w >> 14 & 3 {
		case 2:
			width = 8
		case 3:
			width = 16
		}
	}
	return compares(w>>21&7, w>>24&1 != 0, read(r, w&31)<<(64-width), b<<(64-width))
}

// compares evaluates the condition of cb<cc> on two numbers in the highest bits of their words. The
// immediate form has lt and lo where the register form has ge and hs.
func compares(cc uint32, immediate bool, a, b uint64) bool {
	switch cc {
	case 0:
		return int64(a) > int64(b)
	case 1:
		return (int64(a) >= int64(b)) != immediate
	case 2:
		return a > b
	case 3:
		return (a >= b) != immediate
	case 6:
		return a == b
	}
	return a != b
}
