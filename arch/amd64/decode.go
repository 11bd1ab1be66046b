package amd64

import "github.com/ptracer/ptracer/arch"

// Opcodes used in several files.
const (
	opInt3   = 0xcc
	opIntN   = 0xcd
	opInt1   = 0xf1
	opCall   = 0xe8
	opJmp    = 0xe9
	opGroup5 = 0xff // inc, dec, call, far call, jmp, far jmp, push

	xbeginModRM = 0xf8 // c7 f8: xbegin, c6 f8: xabort
)

// ModRM's reg field in opGroup5.
const (
	group5Call    = 2
	group5CallFar = 3
	group5Jmp     = 4
	group5JmpFar  = 5
)

func (isa) Decode(code []byte, at arch.Addr) (arch.Inst, error) {
	in, err := parse(code)
	if err != nil {
		return arch.Inst{}, err
	}
	out := arch.Inst{Len: in.len, Kind: in.kind(code)}
	switch out.Kind {
	case arch.KindJump, arch.KindBranch, arch.KindCall:
		out.Target = in.target(code, at)
	case arch.KindJumpIndirect:
		out.Table = in.mod() == 3 || in.hasSIB && (in.sib>>3&7 != numRSP || in.rexX() != 0)
	}
	if out.Kind == arch.KindOther && in.table == mapOne && !in.vector && in.op == 0x8d && in.ripRelative() {
		out.Data = at + arch.Addr(in.len) + arch.Addr(in.disp)
	}
	return out, nil
}

// target returns the target of a direct jump, branch or call at "at".
func (in *inst) target(code []byte, at arch.Addr) arch.Addr {
	return at + arch.Addr(in.len) + arch.Addr(in.imm(code))
}

func (in *inst) kind(code []byte) arch.Kind {
	switch {
	case in.vector:
	case in.table == mapOne:
		return in.kindOne(code)
	case in.table == map0F:
		return in.kind0F()
	}
	return arch.KindOther
}

func (in *inst) kindOne(code []byte) arch.Kind {
	switch op := in.op; {
	case op&0xf0 == 0x70, op >= 0xe0 && op <= 0xe3, in.xbegin():
		return arch.KindBranch
	case op == opCall:
		return arch.KindCall
	case op == opJmp, op == 0xeb:
		return arch.KindJump
	case op == 0xc2, op == 0xc3, op == 0xca, op == 0xcb, op == 0xcf:
		return arch.KindReturn
	case op == opInt3, op == opInt1:
		return arch.KindTrap
	case op == opIntN:
		return kindInt(code[in.immAt])
	case op == 0xf4:
		return arch.KindInvalid
	case op == 0x90 && in.rexB() == 0 && in.rep != 0xf3 && !in.lock:
		return arch.KindNop
	case op == opGroup5:
		return in.kindGroup5()
	}
	return arch.KindOther
}

// kindInt classifies int n: two values of n do more than fault.
func kindInt(n byte) arch.Kind {
	switch n {
	case 3:
		return arch.KindTrap
	case 0x80: // the 32-bit system call
		return arch.KindSyscall
	}
	return arch.KindOther
}

func (in *inst) kindGroup5() arch.Kind {
	switch in.reg() {
	case group5Call, group5CallFar:
		return arch.KindCallIndirect
	case group5Jmp, group5JmpFar:
		return arch.KindJumpIndirect
	}
	return arch.KindOther
}

func (in *inst) kind0F() arch.Kind {
	switch op := in.op; {
	case op&0xf0 == 0x80:
		return arch.KindBranch
	case op == 0x05, op == 0x34: // syscall, sysenter
		return arch.KindSyscall
	case op == 0x07, op == 0x35: // sysret, sysexit: for the kernel only
		return arch.KindInvalid
	case op == 0x0b, op == 0xb9, op == 0xff: // ud2, ud1, ud0
		return arch.KindInvalid
	case op == 0x01 && in.modrm == 0xec && in.rep == 0xf3: // uiret
		return arch.KindReturn
	case op == 0x1f && !in.lock:
		return arch.KindNop
	case op == 0x1e && !in.lock: // with f3: rdssp, except endbr64 and endbr32
		if in.rep != 0xf3 || in.modrm == 0xfa || in.modrm == 0xfb {
			return arch.KindNop
		}
	}
	return arch.KindOther
}

// xbegin reports whether the instruction starts a transaction, which is a branch that is taken when
// the transaction fails.
func (in *inst) xbegin() bool {
	return !in.vector && in.table == mapOne && in.op == 0xc7 && in.modrm == xbeginModRM
}
