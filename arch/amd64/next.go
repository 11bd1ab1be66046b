package amd64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Flags in eflags.
const (
	flagCF = 1 << 0
	flagPF = 1 << 2
	flagZF = 1 << 6
	flagSF = 1 << 7
	flagTF = 1 << 8
	flagOF = 1 << 11
)

// sysRTSigreturn continues where the signal frame on the stack says: rip in the ucontext at rsp.
const (
	sysRTSigreturn = 15
	ucontextRIP    = 168
)

// Next treats a repeated string instruction as a whole: the next instruction is executed after its
// last repetition.
func (isa) Next(code []byte, at arch.Addr, r *arch.Regs, read arch.Reader) (arch.Addr, error) {
	in, err := parse(code)
	if err != nil {
		return 0, err
	}
	next := at + arch.Addr(in.len)
	switch in.kind(code) {
	case arch.KindJump, arch.KindCall:
		return in.target(code, at), nil
	case arch.KindBranch:
		switch {
		case in.xbegin():
			return 0, failure.Unsupportedf("next of xbegin")
		case in.rep != 0 && in.table == mapOne && in.op&0xfe == 0xe0: // with f2, a Zen 4 takes loope with ZF clear
			return 0, failure.Unsupportedf("next of loop with a repeat prefix")
		}
		if in.taken(r) {
			return in.target(code, at), nil
		}
	case arch.KindJumpIndirect, arch.KindCallIndirect:
		return in.indirect(next, r, read)
	case arch.KindReturn:
		return in.returns(r, read)
	case arch.KindSyscall:
		if in.table == map0F && in.op == 0x05 && r[regRAX] == sysRTSigreturn {
			return readAddr(read, arch.Addr(r[regRSP]+ucontextRIP))
		}
	}
	return next, nil
}

// taken reports whether a conditional jump is taken.
func (in *inst) taken(r *arch.Regs) bool {
	if in.table == mapOne && in.op&0xf0 == 0xe0 {
		return in.loops(r)
	}
	return condition(in.op&0xf, r[regEFlags])
}

// condition evaluates a condition code; its lowest bit negates.
func condition(cc byte, flags uint64) bool {
	set := func(f uint64) bool { return flags&f != 0 }
	var yes bool
	switch cc >> 1 {
	case 0:
		yes = set(flagOF)
	case 1:
		yes = set(flagCF)
	case 2:
		yes = set(flagZF)
	case 3:
		yes = set(flagCF | flagZF)
	case 4:
		yes = set(flagSF)
	case 5:
		yes = set(flagPF)
	case 6:
		yes = set(flagSF) != set(flagOF)
	case 7:
		yes = set(flagZF) || set(flagSF) != set(flagOF)
	}
	return yes != (cc&1 != 0)
}

// loops evaluates loopne, loope, loop and jrcxz.
func (in *inst) loops(r *arch.Regs) bool {
	count, zf := r[regRCX], r[regEFlags]&flagZF != 0
	if in.op != 0xe3 {
		count--
	}
	if in.addrsize {
		count = uint64(uint32(count))
	}
	switch in.op {
	case 0xe0:
		return count != 0 && !zf
	case 0xe1:
		return count != 0 && zf
	case 0xe2:
		return count != 0
	}
	return count == 0
}

// indirect returns the target of a jump or call through a register or memory.
func (in *inst) indirect(next arch.Addr, r *arch.Regs, read arch.Reader) (arch.Addr, error) {
	switch {
	case in.reg() == group5CallFar || in.reg() == group5JmpFar:
		return 0, failure.Unsupportedf("next of a far jump")
	case in.narrow():
		return 0, failure.Unsupportedf("next of a branch of 16 bits")
	case in.mod() == 3:
		return arch.Addr(r[encoded[in.rm()|in.rexB()<<3]]), nil
	}
	return readAddr(read, in.address(next, r))
}

// returns returns the target of a near return; other returns change segments, too.
func (in *inst) returns(r *arch.Regs, read arch.Reader) (arch.Addr, error) {
	if in.op&0xfe != 0xc2 || in.narrow() {
		return 0, failure.Unsupportedf("next of a return that is not near")
	}
	return readAddr(read, arch.Addr(r[regRSP]))
}

// address returns the linear address of the memory operand.
func (in *inst) address(next arch.Addr, r *arch.Regs) arch.Addr {
	a := uint64(int64(in.disp))
	switch {
	case in.ripRelative():
		a += uint64(next)
	case in.hasSIB:
		if index := in.sib>>3&7 | in.rexX()<<3; index != numRSP {
			a += r[encoded[index]] << (in.sib >> 6)
		}
		if base := in.sib & 7; base != numRBP || in.mod() != 0 {
			a += r[encoded[base|in.rexB()<<3]]
		}
	default:
		a += r[encoded[in.rm()|in.rexB()<<3]]
	}
	if in.addrsize {
		a = uint64(uint32(a))
	}
	switch in.seg {
	case 0x64:
		a += r[regFSBase]
	case 0x65:
		a += r[regGSBase]
	}
	return arch.Addr(a)
}

func readAddr(read arch.Reader, at arch.Addr) (arch.Addr, error) {
	var p [8]byte
	if err := read(at, p[:]); err != nil {
		return 0, err
	}
	return arch.Addr(binary.LittleEndian.Uint64(p[:])), nil
}
