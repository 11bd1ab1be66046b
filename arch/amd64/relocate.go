package amd64

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Relocate writes code that needs no scratch register, no flag and no stack of its own, so that a
// task can be moved out of a slot at any boundary.
//
// Two effects depend on an instruction's address alone and can't be kept: the FPU's
// last-instruction pointer (fnstenv, fxsave), and a shadow stack, which sees a return without its
// call.
func (isa) Relocate(b *arch.Buffer, code []byte, from arch.Addr) (arch.Slot, error) {
	in, err := parse(code)
	if err != nil {
		return arch.Slot{}, err
	}
	r := relocation{
		slotWriter: slotWriter{b: b, start: len(b.Code)},
		inst:       in,
		code:       code[:in.len],
		from:       from,
		next:       from + arch.Addr(in.len),
	}
	r.mark(arch.Fix{PC: from, Before: true})
	if err := r.write(); err != nil {
		b.Code = b.Code[:r.start]
		return arch.Slot{}, fmt.Errorf("relocate % x: %w", r.code, err)
	}
	return r.finish(), nil
}

// relocation is the state of an instruction's relocation into a slot.
type relocation struct {
	slotWriter
	inst
	code []byte
	from arch.Addr
	next arch.Addr // the instruction behind it in the program
}

func (r *relocation) write() error {
	switch r.kind(r.code) {
	case arch.KindJump:
		r.jump(r.target(r.code, r.from))
		return nil
	case arch.KindBranch:
		return r.branch(r.target(r.code, r.from))
	case arch.KindCall:
		r.push(uint64(r.next))
		r.mark(arch.Fix{PC: r.target(r.code, r.from)})
		r.jump(r.target(r.code, r.from))
		return nil
	case arch.KindCallIndirect:
		return r.callIndirect()
	case arch.KindJumpIndirect, arch.KindReturn:
		return r.copy()
	case arch.KindSyscall:
		return r.syscall()
	case arch.KindTrap:
		return failure.Unsupportedf("a trap of the program")
	}
	if r.table == map0F && r.op == 0x01 && r.modrm == 0xd7 {
		return failure.Unsupportedf("enclu takes its own address")
	}
	if err := r.copy(); err != nil {
		return err
	}
	r.goOn()
	return nil
}

// goOn marks the instruction as done and jumps back to the program.
func (r *relocation) goOn() {
	r.mark(arch.Fix{PC: r.next})
	r.jump(r.next)
}

// copy writes the instruction unchanged, except for an operand relative to it.
func (r *relocation) copy() error {
	at := r.b.PC()
	r.b.Bytes(r.code...)
	if !r.ripRelative() {
		return nil
	}
	disp, err := r.newDisp(at + arch.Addr(r.len))
	if err != nil {
		return err
	}
	copied := r.b.Code[len(r.b.Code)-r.len:]
	binary.LittleEndian.PutUint32(copied[r.dispAt:], uint32(disp))
	return nil
}

// newDisp returns the displacement with which an instruction that ends at end reaches the same
// operand. With a 32-bit address size the sum wraps, and reaches everything.
func (r *relocation) newDisp(end arch.Addr) (int32, error) {
	disp := int64(r.next) + int64(r.disp) - int64(end)
	if !r.addrsize && disp != int64(int32(disp)) {
		return 0, failure.Unsupportedf("operand out of reach of the slot")
	}
	return int32(disp), nil
}

// branch writes a conditional jump to target.
func (r *relocation) branch(target arch.Addr) error {
	long := r.longBranch()
	if end := r.b.PC() + arch.Addr(len(long)+4); long != nil && reaches(end, target) {
		r.b.Bytes(long...)
		r.b.Uint32(uint32(target - end))
		r.goOn()
		return nil
	}
	// A branch over the jump back, to a jump with unlimited range.
	r.b.Bytes(r.shortBranch()...)
	rel := len(r.b.Code)
	r.goOn()
	over := len(r.b.Code) - rel
	if r.immLen == 4 && r.xbegin() {
		binary.LittleEndian.PutUint32(r.b.Code[rel-4:], uint32(over))
	} else {
		r.b.Code[rel-1] = byte(over)
	}
	r.mark(arch.Fix{PC: target})
	r.jump(target)
	return nil
}

// longBranch returns the form with a 32-bit displacement, without that, or nil. Prefixes are only
// hints here and are dropped.
func (r *relocation) longBranch() []byte {
	switch {
	case r.xbegin():
		return []byte{0xc7, xbeginModRM}
	case r.table == map0F, r.op&0xf0 == 0x70:
		return []byte{0x0f, 0x80 | r.op&0xf}
	}
	return nil // loop, jrcxz
}

// shortBranch returns a form with an 8-bit displacement, which the caller fills in.
func (r *relocation) shortBranch() []byte {
	switch {
	case r.xbegin():
		return []byte{0xc7, xbeginModRM, 0, 0, 0, 0}
	case r.table == map0F, r.op&0xf0 == 0x70:
		return []byte{0x70 | r.op&0xf, 0}
	}
	return r.code // with the prefix that selects ecx or rcx as the counter
}

// callIndirect pushes the program's return address and jumps.
func (r *relocation) callIndirect() error {
	switch {
	case r.reg() == group5CallFar:
		return failure.Unsupportedf("far call")
	case r.narrow():
		return failure.Unsupportedf("call of 16 bits")
	case r.usesRSP():
		return r.callThroughStack()
	}
	r.pushUndone()
	if err := r.copy(); err != nil {
		return err
	}
	r.toJump()
	return nil
}

// pushUndone pushes the return address. Behind the push the call is not done yet: its operand may
// fault.
func (r *relocation) pushUndone() {
	r.push(uint64(r.next))
	r.mark(arch.Fix{PC: r.from, SP: 8, Before: true})
}

// toJump turns the call at the end of the buffer into a jump.
func (r *relocation) toJump() {
	copied := r.b.Code[len(r.b.Code)-r.len:]
	copied[r.modrmAt] = copied[r.modrmAt]&^0x38 | group5Jmp<<3
}

// usesRSP reports whether the operand is, or is addressed by, the stack pointer.
func (r *relocation) usesRSP() bool {
	switch {
	case r.rexB() != 0: // r12
		return false
	case r.mod() == 3:
		return r.rm() == numRSP
	}
	return r.hasSIB && r.sib&7 == numRSP
}

// callThroughStack writes a call through memory relative to the stack pointer, which the push
// before it moves by 8.
func (r *relocation) callThroughStack() error {
	indexed := r.mod() != 3 && (r.sib>>3&7 != numRSP || r.rexX() != 0)
	switch {
	case r.mod() == 3:
		return failure.Unsupportedf("call to the stack pointer")
	case indexed && r.disp < 0, r.disp < 0 && r.disp > -16:
		return failure.Unsupportedf("the return address would overwrite the operand")
	case r.disp > math.MaxInt32-8:
		return failure.Unsupportedf("displacement cannot grow")
	}
	r.pushUndone()
	r.b.Bytes(r.code[:r.modrmAt]...)
	r.b.Bytes(0x80|group5Jmp<<3|numRSP, r.sib)
	r.b.Uint32(uint32(r.disp + 8))
	return nil
}

// syscall leaves the address behind the program's instruction in rcx, as the instruction itself
// does.
func (r *relocation) syscall() error {
	if r.table == map0F && r.op == 0x34 {
		return failure.Unsupportedf("sysenter")
	}
	r.b.Bytes(r.code...)
	if r.table == map0F {
		r.mark(arch.Fix{PC: r.next})
		r.setReg(numRCX, uint64(r.next))
	}
	r.goOn()
	return nil
}
