package arm64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

func (isa) JumpLen() int { return instLen }
func (isa) MaxJump() int { return 2 * instLen }

func (isa) Jump(code []byte, from, to arch.Addr) ([]byte, error) {
	var b []byte
	if landingPad(code) {
		b = append(b, code[:instLen]...)
	}
	delta := int64(to - from - arch.Addr(len(b)))
	if delta < -branchReach || delta >= branchReach || delta%instLen != 0 {
		return nil, failure.Unsupportedf("%v is out of a jump's reach from %v", to, from)
	}
	return binary.LittleEndian.AppendUint32(b, encBranch(delta)), nil
}

// Run returns one instruction, since a jump is not longer. A landing pad stays in place, with the
// jump behind it. Only the pad leads to the jump: jump tables lead to landing pads where there are
// any, and behind the frame's start elsewhere.
func (isa) Run(code []byte, at arch.Addr, n int) (list []arch.Inst, err error) {
	most := 1
	if landingPad(code) {
		most = 2
	}
	for i := range most {
		in, err := one(code, i, at)
		if err != nil {
			return nil, err
		}
		list = append(list, in)
	}
	switch {
	case n > most*instLen:
		return nil, failure.Unsupportedf("%d bytes to be displaced", n)
	case most > 1 && landingPad(code[instLen:]):
		return nil, failure.Unsupportedf("two landing pads of indirect branches")
	}
	return list, nil
}

// one returns the i-th instruction of a run.
func one(code []byte, i int, at arch.Addr) (arch.Inst, error) {
	off := min(i*instLen, len(code))
	in, err := isa{}.Decode(code[off:], at+arch.Addr(off))
	if err == nil && (in.Kind == arch.KindTrap || in.Kind == arch.KindSyscall) {
		err = failure.Unsupportedf("a system call or trap would be displaced")
	}
	if err == nil {
		w, _ := word(code[off:], 0)
		in.Faults = faults(w)
	}
	return in, err
}

// faults reports whether an instruction may fault, among those that can be displaced: accesses to
// memory except the stack and the file's own data, and instructions that the system may forbid or
// does not know.
func faults(w uint32) bool {
	onStack := w>>5&31 == regSP && w&0x3b200000 != 0x38200000 // without an index register
	switch class := w >> 25 & 15; classify(w) {
	case formOther:
		return class < 4 || class&5 == 4 && !onStack || class&^1 == 10 && !hint(w)
	case formNop, formB, formBL, formCond, formZero, formBit, formCompare, formBR, formBLR, formRet, formAdr, formAdrp, formLoad, formLoadFP, formPrefetch:
		return false
	}
	return true
}

// hint reports whether an instruction is a hint, which does nothing on a CPU that does not know it.
func hint(w uint32) bool { return w&0xfffff01f == 0xd503201f }

// landingPad reports whether code starts with bti, paciasp or pacibsp: indirect branches into
// guarded pages require one of these.
func landingPad(code []byte) bool {
	w, err := word(code, 0)
	return err == nil && (w&^0xc0 == 0xd503241f || w&^0x40 == signs)
}

// signs is paciasp, or with one more bit pacibsp, and unsigns reverses it.
const (
	signs   = 0xd503233f
	unsigns = 0xd50323bf
)

func (isa) RelocateRun(b *arch.Buffer, code []byte, from arch.Addr, run []arch.Inst, before func(i int) error) (arch.Slot, error) {
	start := len(b.Code)
	var fixes []arch.Fix
	if before == nil {
		before = func(int) error { return nil }
	}
	switch {
	case len(run) == 2 && landingPad(code):
		pad, _ := word(code, from)
		if pad&^0x40 == signs { // the program has executed it, in place
			b.Uint32(unsigns | pad&0x40)
		}
		if err := before(0); err != nil {
			return arch.Slot{}, err
		}
		fixes = append(fixes, arch.Fix{Off: len(b.Code) - start, PC: from, Before: true, Reg: -1})
		b.Uint32(pad)
		code, from = code[instLen:], from+instLen
	default: // any other is executed in the slot
		for i := range len(run) - 1 {
			w, err := word(code, from)
			if form := classify(w); err != nil || form != formOther && form != formNop {
				return arch.Slot{}, failure.Unsupportedf("%08x in a run", w)
			}
			if err := before(i); err != nil {
				return arch.Slot{}, err
			}
			fixes = append(fixes, arch.Fix{Off: len(b.Code) - start, PC: from, Before: true, Reg: -1})
			b.Uint32(w)
			code, from = code[instLen:], from+instLen
		}
	}
	if err := before(len(run) - 1); err != nil {
		return arch.Slot{}, err
	}
	own := len(b.Code) - start
	slot, err := isa{}.Relocate(b, code, from)
	for _, f := range slot.Fixes { // they are relative to the start of Relocate's code
		f.Off += own
		fixes = append(fixes, f)
	}
	slot.Len, slot.Fixes = len(b.Code)-start, fixes
	return slot, err
}
