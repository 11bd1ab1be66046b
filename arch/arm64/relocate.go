package arm64

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

var (
	errReach  = failure.Unsupportedf("out of reach of a branch")
	errTrap   = failure.Unsupportedf("the program's own trap")
	errSelf   = failure.Unsupportedf("calls through the register that gets the return address")
	errSigned = failure.Unsupportedf("authenticates its own address")
	errCopy   = failure.Unsupportedf("must stand behind the start of its memory copy")
	errCell   = errors.New("slot is not at a multiple of 4")
)

// Relocate writes a slot. An instruction that does not depend on its address is copied and followed
// by a branch back. Others are rewritten with constants in the slot behind the code. No register is
// free, so all branches are direct, and the slot must be within 128 MiB of their targets.
func (isa) Relocate(b *arch.Buffer, code []byte, from arch.Addr) (arch.Slot, error) {
	w, err := word(code, from)
	if err != nil {
		return arch.Slot{}, fmt.Errorf("arm64: relocate from %v: %w", from, err)
	}
	s := slot{b: b, start: len(b.Code), from: from}
	if b.PC()%instLen != 0 {
		s.err = errCell
	} else {
		relocators[classify(w)](&s, w)
		s.place()
	}
	if s.err != nil {
		b.Code = b.Code[:s.start]
		return arch.Slot{}, fmt.Errorf("arm64: relocate %08x from %v to %v: %w", w, from, b.PC(), s.err)
	}
	return arch.Slot{Len: len(b.Code) - s.start, Fixes: slices.Clone(s.fixes)}, nil
}

// relocators write the slots of each form.
var relocators = [numForms]func(*slot, uint32){
	formOther:     (*slot).copy,
	formNop:       (*slot).copy,
	formB:         (*slot).jump,
	formBL:        (*slot).call,
	formCond:      (*slot).branch,
	formZero:      (*slot).branch,
	formBit:       (*slot).branch,
	formCompare:   (*slot).branch,
	formBR:        (*slot).leave,
	formBRAuth:    (*slot).leave,
	formBLR:       (*slot).callRegister,
	formBLRAuth:   (*slot).callRegister,
	formRet:       (*slot).leave,
	formRetAuth:   (*slot).leave,
	formRetAuthPC: func(s *slot, _ uint32) { s.fail(errSigned) },
	formAdr:       (*slot).address,
	formAdrp:      (*slot).address,
	formLoad:      (*slot).load,
	formLoadFP:    (*slot).loadScratch,
	formPrefetch:  func(s *slot, _ uint32) { s.copy(nop) },
	formSignPC:    func(s *slot, _ uint32) { s.fail(errSigned) },
	// If threads may move between CPUs that copy in different ways, the kernel reacts to the main
	// and the epilogue instruction by going back one or two instructions to the prologue
	// (arm64_mops_reset_regs), which exists only at the original place.
	formCopyLater: func(s *slot, _ uint32) { s.fail(errCopy) },
	formSvc:       (*slot).copy,
	formBrk:       func(s *slot, _ uint32) { s.fail(errTrap) },
	formInvalid:   (*slot).leave,
}

// slot is the state of a slot while it is written.
type slot struct {
	b      *arch.Buffer
	start  int // offset of the slot in b.Code
	from   arch.Addr
	fixes  []arch.Fix
	consts []constant
	err    error // the first error
}

// constant is 8 bytes behind the code, and the literal load that reads them.
type constant struct {
	at    int // offset of the load in b.Code
	value arch.Addr
}

func (s *slot) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *slot) next() arch.Addr { return s.from + instLen }

// before and at are the fixes of a boundary: before, the program has not executed the displaced
// instruction; at, it has, and pc comes next.
func (s *slot) before() arch.Fix         { return arch.Fix{PC: s.from, Before: true, Reg: -1} }
func (s *slot) at(pc arch.Addr) arch.Fix { return arch.Fix{PC: pc, Reg: -1} }

// emit writes one instruction, and how to show a task in front of it.
func (s *slot) emit(fix arch.Fix, w uint32) {
	fix.Off = len(s.b.Code) - s.start
	s.fixes = append(s.fixes, fix)
	s.b.Uint32(w)
}

// emitConst writes ldr xN, =value.
func (s *slot) emitConst(fix arch.Fix, reg uint32, value arch.Addr) {
	s.consts = append(s.consts, constant{len(s.b.Code), value})
	s.emit(fix, encLoadLiteral(reg, 0))
}

// goTo leaves the slot for pc, after the displaced instruction.
func (s *slot) goTo(pc arch.Addr) {
	delta := int64(pc - s.b.PC())
	if delta < -branchReach || delta >= branchReach || delta%instLen != 0 {
		s.fail(errReach)
	}
	s.emit(s.at(pc), encBranch(delta))
}

// place writes the constants behind the code and sets the loads' offsets.
func (s *slot) place() {
	if len(s.consts) == 0 {
		return
	}
	for s.b.PC()%8 != 0 {
		s.b.Uint32(0) // udf
	}
	for _, c := range s.consts {
		w, _ := word(s.b.Code[c.at:], 0)
		put32(s.b.Code[c.at:], encLoadLiteral(w&31, len(s.b.Code)-c.at))
		s.b.Uint64(uint64(c.value))
	}
}

// copy writes instructions that have the same effect everywhere. svc is one: where the kernel moves
// the PC back to restart it is the slot's start.
func (s *slot) copy(w uint32) {
	s.emit(s.before(), w)
	s.goTo(s.next())
}

// leave writes instructions that never continue behind themselves.
func (s *slot) leave(w uint32) { s.emit(s.before(), w) }

func (s *slot) jump(w uint32) {
	s.goTo(target26(w, s.from))
	s.fixes[0] = s.before()
}

func (s *slot) call(w uint32) {
	s.emitConst(s.before(), regX30, s.next())
	s.goTo(target26(w, s.from))
}

// branch keeps the condition, and branches over the branch back.
func (s *slot) branch(w uint32) {
	f := classify(w)
	s.emit(s.before(), encRetarget(f, w, 2*instLen))
	s.goTo(s.next())
	s.goTo(targets[f](w, s.from))
}

// callRegister turns blr into br, and blraa into braa. Every bti accepts a br from a page that is
// not guarded (PROT_BTI), as it does the blr.
func (s *slot) callRegister(w uint32) {
	reg, modifier := w>>5&31, uint32(zr)
	mask := ^arch.Addr(0)
	if classify(w) == formBLRAuth {
		modifier = w & 31 // 31 is sp, also in the forms without modifier
		mask = userMask
	}
	if reg == regX30 || modifier == regX30 {
		s.fail(errSelf)
		return
	}
	s.emitConst(s.before(), regX30, s.next())
	called := arch.Fix{PC: mask, PCFrom: int16(reg) + 1, Reg: -1}
	if reg == zr {
		called = s.at(0)
	}
	s.emit(called, w&^(1<<21))
}

// address writes adr and adrp as a constant, whatever the program uses it for.
func (s *slot) address(w uint32) {
	imm := offset(w, 5, 19)<<2 | arch.Addr(w>>29&3)
	value := s.from + imm
	if classify(w) == formAdrp {
		value = s.from&^4095 + imm<<12
	}
	s.emitConst(s.before(), w&31, value)
	s.goTo(s.next())
}

// load puts the address into the register that is loaded. Between the two instructions the register
// is wrong, which has no effect, since the program is about to overwrite it.
func (s *slot) load(w uint32) {
	reg := w & 31
	if reg == zr {
		s.loadScratch(w)
		return
	}
	s.emitConst(s.before(), reg, target19(w, s.from))
	s.emit(s.before(), encLoad(w, reg))
	s.goTo(s.next())
}

// loadScratch loads registers that are not general, with the address in x16. x16 is saved in the 8
// bytes at sp-16: AAPCS64 promises a program nothing below the stack pointer, but Go keeps a frame
// pointer at sp-8.
func (s *slot) loadScratch(w uint32) {
	const scratch = 16
	pushed := s.before()
	pushed.SP = 16
	loaded := pushed
	loaded.Reg = scratch
	done := loaded
	done.PC, done.Before = s.next(), false

	s.emit(s.before(), encPush(scratch))
	s.emitConst(pushed, scratch, target19(w, s.from))
	s.emit(loaded, encLoad(w, scratch))
	s.emit(done, encPop(scratch))
	s.goTo(s.next())
}
