package plan

import (
	"github.com/ptracer/ptracer/engine/handler/program"
)

// decode makes the operation of instruction i.
func (b *builder) decode(i int) error {
	in := b.Program.Insns[i]
	o := Op{Dst: in.Dst, Src: in.Src, Imm: int64(in.Imm), Miss: -1}
	ok := true
	switch in.Class() {
	case program.ClassLd:
		return b.decodeWide(i, o)
	case program.ClassLdx:
		o.Kind, o.Size, o.Mem = Load, uint8(in.Size()), Mem{in.Src, int64(in.Off)}
		o.Src = NoReg
		o.Signed = in.Op&program.ModeMask == program.ModeMemSX
		ok = o.Signed && o.Size < 8 || in.Op&program.ModeMask == program.ModeMem
	case program.ClassSt, program.ClassStx:
		ok = decodeStore(in, &o)
	case program.ClassAlu, program.ClassAlu64:
		ok = decodeAlu(in, &o)
	default:
		return b.decodeJump(i, o)
	}
	if !ok {
		return Refuse(b.Program, i, "no such instruction (%#x)", in.Op)
	}
	b.Ops[i] = o
	return nil
}

// decodeWide handles loads of 64 bits.
func (b *builder) decodeWide(i int, o Op) error {
	in, p := b.Program.Insns[i], b.Program
	if !in.Wide() || i+1 >= len(p.Insns) {
		return Refuse(p, i, "no such instruction (%#x)", in.Op)
	}
	high := p.Insns[i+1].Imm
	o.Src = NoReg
	index := int(in.Imm)
	switch in.Src {
	case program.PseudoNone:
		o.Kind, o.Imm = Const, int64(uint64(uint32(in.Imm))|uint64(uint32(high))<<32)
	case program.PseudoMap, program.PseudoMapValue:
		if index < 0 || index >= len(p.Maps) {
			return Refuse(p, i, "no map %d", index)
		}
		o.Kind, o.To = Address, index
		if in.Src == program.PseudoMap {
			o.Mem = Mem{BaseRegion, int64(b.Target.Maps[index].Header)}
		} else {
			o.Mem = Mem{BaseRegion, int64(b.Target.Maps[index].Data) + int64(high)}
		}
	case program.PseudoFunc:
		o.Kind, o.To = FuncAddr, b.funcAt(i+1+index)
		if o.To < 0 {
			return Refuse(p, i, "no function there")
		}
	default:
		return Refuse(p, i, "64-bit load of kind %d", in.Src)
	}
	b.Ops[i] = o
	return nil
}

// funcAt returns the function that starts at instruction i, -1 if none does.
func (b *builder) funcAt(i int) int {
	for f := range b.Funcs {
		if b.Funcs[f].Start == i {
			return f
		}
	}
	return -1
}

func decodeStore(in program.Insn, o *Op) bool {
	o.Kind, o.Size, o.Mem = Store, uint8(in.Size()), Mem{in.Dst, int64(in.Off)}
	mode := in.Op & program.ModeMask
	if in.Class() == program.ClassSt {
		o.Src = NoReg
		return mode == program.ModeMem
	}
	switch {
	case mode == program.ModeMem:
		return true
	case mode != program.ModeAtomic:
		return false
	}
	switch in.Imm {
	case program.AtomicLoad:
		o.Kind, o.Src, o.Mem.Base = LoadAcq, NoReg, in.Src
		return true
	case program.AtomicStore:
		o.Kind = StoreRel
		return true
	}
	o.Kind, o.Fn = Atomic, uint8(in.Imm)
	o.Fetch = in.Imm&program.AtomicFetch != 0
	if in.Imm != program.AtomicXchg && in.Imm != program.AtomicCmpXchg {
		o.Fn &^= program.AtomicFetch
	}
	return o.Size >= 4 && in.Imm&^0xff == 0 && atomicFns[o.Fn]
}

var atomicFns = map[uint8]bool{
	program.AluAdd: true, program.AluOr: true, program.AluAnd: true, program.AluXor: true,
	program.AtomicXchg: true, program.AtomicCmpXchg: true,
}

func decodeAlu(in program.Insn, o *Op) bool {
	o.Kind, o.Fn, o.Wide = Alu, in.Op&program.OpMask, in.Class() == program.ClassAlu64
	if in.Op&program.SrcMask == program.SrcK {
		o.Src = NoReg
	}
	if !o.Wide {
		o.Imm = int64(uint32(o.Imm))
	}
	switch o.Fn {
	case program.AluMov:
		return decodeMove(in, o)
	case program.AluEnd:
		return decodeEnd(in, o)
	case program.AluNeg:
		o.Kind, o.Src = Negate, NoReg
		return in.Off == 0
	case program.AluDiv, program.AluMod:
		o.Signed = in.Off == 1
		return in.Off == 0 || in.Off == 1
	case program.AluLsh, program.AluRsh, program.AluArsh:
		o.Imm &= 31
		if o.Wide {
			o.Imm = int64(in.Imm) & 63
		}
	}
	return in.Off == 0 && o.Fn < program.AluEnd
}

func decodeMove(in program.Insn, o *Op) bool {
	switch {
	case in.Off == 0 && o.UsesImm():
		o.Kind = Const
		return true
	case in.Off == 0:
		o.Kind = Move
		return true
	case o.UsesImm():
		return false
	}
	o.Kind, o.Size = Extend, uint8(in.Off/8)
	return in.Off == 8 || in.Off == 16 || in.Off == 32 && o.Wide
}

// decodeEnd handles byte orders; the machine's is little-endian.
func decodeEnd(in program.Insn, o *Op) bool {
	o.Kind, o.Size = Swap, uint8(in.Imm/8)
	if !o.Wide && in.Op&program.SrcMask == program.SrcK {
		o.Kind = Truncate
	}
	o.Src = NoReg
	if o.Kind == Truncate && o.Size == 8 {
		o.Kind = Nop
	}
	if o.Wide && in.Op&program.SrcMask != program.SrcK {
		return false
	}
	return in.Off == 0 && (in.Imm == 16 || in.Imm == 32 || in.Imm == 64)
}

// decodeJump handles jumps, calls and exits.
func (b *builder) decodeJump(i int, o Op) error {
	in, p := b.Program.Insns[i], b.Program
	switch {
	case in.IsExit():
		o.Kind = Exit
	case in.IsCall() && in.Src == program.CallHelper:
		o.Kind = Call
		if in.Imm < 0 {
			return b.decodePrimitive(i, o)
		}
	case in.IsCall() && in.Src == program.CallFunc:
		o.Kind, o.To = CallFunc, b.funcAt(i+1+int(in.Imm))
		if o.To < 0 {
			return Refuse(p, i, "no function there")
		}
	case in.Always():
		o.Kind, o.To = Goto, in.Target(i)
	case in.IsJump() && in.Op&program.OpMask <= program.JmpSle:
		o.Kind, o.Fn, o.To = Jump, in.Op&program.OpMask, in.Target(i)
		o.Wide = in.Class() == program.ClassJmp
		if !o.Wide {
			o.Imm = int64(uint32(o.Imm))
		}
		if in.Op&program.SrcMask == program.SrcK {
			o.Src = NoReg
		}
	default:
		return Refuse(p, i, "no such instruction (%#x, source %d)", in.Op, in.Src)
	}
	if o.Kind != Jump {
		o.Src = NoReg
	}
	b.Ops[i] = o
	return nil
}

// decodePrimitive handles operations that only helpers use.
func (b *builder) decodePrimitive(i int, o Op) error {
	o.Dst, o.Src = program.R0, NoReg
	switch {
	case !b.Target.Helper:
		return Refuse(b.Program, i, "no helper has number %d", o.Imm)
	case o.Imm == FnThread:
		o.Kind = Thread
	case o.Imm == FnSelf && b.result.Context.Arch == "amd64":
		o.Kind = Self
	case o.Imm == FnGoroutine && b.result.Context.Arch == "arm64":
		o.Kind = Goroutine
	case o.Imm == FnCycles:
		o.Kind = Cycles
	case o.Imm == FnSlot:
		o.Kind = Slot
	case o.Imm <= FnScale && o.Imm > FnScale-64:
		o.Kind, o.Imm = Scale, FnScale-o.Imm
	case o.Imm <= FnSyscall:
		o.Kind, o.Imm = Syscall, FnSyscall-o.Imm
	}
	b.Ops[i] = o
	return nil
}
