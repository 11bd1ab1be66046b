package xol

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// LeaveSlot moves a task that stands in a slot to the program's own code. With
// skip, a hit that has been told is not told again when the task comes back.
func (x *XOL) LeaveSlot(t *inferior.Task, skip bool) error {
	pc, err := t.PC()
	if err != nil || !t.Process.Space.Table.InArea(pc) {
		return err
	}
	fix, site, ok := t.Process.Space.Table.Locate(pc)
	if !ok {
		return nil // in the guard or in a stub, which leave by themselves
	}
	if site.Jumps() && t.Process.Space.Table.InTrampoline(pc) {
		return nil // the program's code is not there while it is a jump
	}
	if skip && fix.Before && site.Inst.Kind == arch.KindSyscall && x.isa.MinInst() == 4 {
		// arm64 decides between a restart and EINTR after this stop, and only
		// if the PC is still where it put it (do_signal).
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	fixed, err := x.Fixed(t, *r, fix)
	if err != nil {
		return err
	}
	t.SetRegs(&fixed)
	if fix.Before && fix.PC == site.Addr && skip && t.Process.Space.Table.At(site.Addr) == site {
		AddSkip(t, site.Addr, fixed[x.isa.SPReg()])
	}
	return nil
}

// AddSkip notes that a hit has been told. Old ones that no task came back to
// were left by longjmp.
func AddSkip(t *inferior.Task, addr arch.Addr, sp uint64) {
	const most = 64
	space := t.Process.Space
	if len(space.Skips) == most {
		space.Skips = slices.Delete(space.Skips, 0, 1)
	}
	space.Skips = append(space.Skips, inferior.Skip{TID: t.TID, Addr: addr, SP: sp})
}

// Skipped reports whether t comes back to a hit that has been told already.
func (x *XOL) Skipped(t *inferior.Task, addr arch.Addr) bool {
	r, err := t.Regs()
	if err != nil {
		return false
	}
	space := t.Process.Space
	i := slices.IndexFunc(space.Skips, func(k inferior.Skip) bool {
		return k.Addr == addr && k.SP == r[x.isa.SPReg()]
	})
	if i < 0 {
		return false
	}
	space.Skips = slices.Delete(space.Skips, i, i+1)
	return true
}
