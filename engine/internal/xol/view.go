package xol

import (
	"encoding/binary"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// View is a stopped task's registers as the program has them.
func (x *XOL) View(t *inferior.Task) (arch.Regs, error) {
	r, err := t.Regs()
	if err != nil {
		return arch.Regs{}, err
	}
	table := t.Process.Space.Table
	pc := arch.Addr(r[x.isa.PCReg()])
	if fix, _, ok := table.Locate(pc); ok {
		return x.Fixed(t, *r, fix)
	}
	return *r, nil
}

// SetView sets a task's registers as the program has them: a task in a slot
// stays there as long as its PC is not changed.
func (x *XOL) SetView(t *inferior.Task, regs arch.Regs) error {
	shown, err := x.View(t)
	if err != nil {
		return err
	}
	raw, err := t.Regs()
	if err != nil {
		return err
	}
	pc, sp := x.isa.PCReg(), x.isa.SPReg()
	if regs[pc] == shown[pc] {
		regs[pc] = raw[pc]
		regs[sp] -= shown[sp] - raw[sp]
	}
	t.SetRegs(&regs)
	return t.Flush()
}

// ShownPC is where a stopped task is shown.
func (x *XOL) ShownPC(t *inferior.Task) (arch.Addr, error) {
	r, err := x.View(t)
	return arch.Addr(r[x.isa.PCReg()]), err
}

// InSlot reports whether a stopped task stands in code of ptracer's.
func InSlot(t *inferior.Task) bool {
	pc, err := t.PC()
	return err == nil && t.Process.Space.Table.InArea(pc)
}

// Elsewhere reports whether a stopped task is not shown at an address any more.
func (x *XOL) Elsewhere(t *inferior.Task, at arch.Addr) bool {
	pc, err := x.ShownPC(t)
	return err == nil && pc != at
}

// Next is where a task goes on behind the instruction at which it is shown.
func (x *XOL) Next(t *inferior.Task, at arch.Addr) (arch.Addr, error) {
	table := t.Process.Space.Table
	r, err := x.View(t)
	if err != nil {
		return 0, err
	}
	code := make([]byte, x.isa.MaxInst())
	for len(code) > 0 && table.ReadOriginal(at, code) != nil {
		code = code[:len(code)-1]
	}
	return x.isa.Next(slices.Clip(code), at, &r, table.ReadOriginal)
}

// Fixed gives the registers that a task in the middle of a slot would have
// in the program's own code.
func (x *XOL) Fixed(t *inferior.Task, r arch.Regs, fix arch.Fix) (arch.Regs, error) {
	sp := r[x.isa.SPReg()]
	if fix.Reg >= 0 {
		var b [8]byte
		if err := t.Process.Space.Memory.Read(arch.Addr(sp+uint64(fix.RegAt)), b[:]); err != nil {
			return r, err
		}
		r[fix.Reg] = binary.LittleEndian.Uint64(b[:])
	}
	r[x.isa.PCReg()] = uint64(fix.Where(&r))
	r[x.isa.SPReg()] = sp + uint64(fix.SP)
	return r, nil
}
