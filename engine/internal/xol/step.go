package xol

import (
	"encoding/binary"
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// StepOver single-steps the displaced instruction in the site's slot.
func (x *XOL) StepOver(t *inferior.Task, site *breakpoint.Site) error {
	cell := site.Slot()
	t.SetPC(cell)
	if err := x.guard.Swallow(t.Process.Space, true); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for {
		if err := ptrace.Step(t.TID, 0); err != nil {
			return err
		}
		stop, err := x.loop.Next(t)
		if err != nil {
			return err
		}
		pc, err := t.PC()
		switch {
		case stop.Kind != ptrace.Signal || err != nil:
			return x.loop.Decide(t, stop)
		case stop.Signal != ptrace.SIGTRAP:
			return x.loop.Decide(t, stop) // before the instruction; it will come back
		case site.Stepping(pc):
			continue
		}
		return x.stepped(t, site, pc)
	}
}

// stepped corrects what a step has left: a copied instruction's own address,
// and the trap flag that pushf saved.
func (x *XOL) stepped(t *inferior.Task, site *breakpoint.Site, pc arch.Addr) error {
	cell := site.Slot()
	if site.Copied() && pc > cell && pc <= cell+arch.Addr(site.Inst.Len) {
		t.SetPC(site.Addr + (pc - cell))
	}
	var err error
	switch k := site.Inst.Kind; {
	case site.Copied() && (k == arch.KindCall || k == arch.KindCallIndirect):
		err = x.setReturn(t, site.End())
	case x.isa.MinInst() == 1 && pushesFlags(site.Code()[:site.Inst.Len]):
		err = x.clearTrapFlag(t)
	}
	return errors.Join(err, x.loop.Resume(t, 0))
}

// setReturn gives a call that has just been made its return address.
func (x *XOL) setReturn(t *inferior.Task, ret arch.Addr) error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	if x.isa.MinInst() == 4 { // the link register
		linked := *r
		linked[30] = uint64(ret)
		t.SetRegs(&linked)
		return nil
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(ret))
	return t.Process.Space.Memory.Write(arch.Addr(r[x.isa.SPReg()]), b[:])
}

// pushesFlags recognises amd64's pushf, which saves the flag that steps it.
func pushesFlags(code []byte) bool {
	return len(code) > 0 && code[len(code)-1] == 0x9c && len(code) <= 2
}

func (x *XOL) clearTrapFlag(t *inferior.Task) error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	var b [2]byte
	at, mem := arch.Addr(r[x.isa.SPReg()]), t.Process.Space.Memory
	if err := mem.Read(at, b[:]); err != nil {
		return err
	}
	b[1] &^= 1
	return mem.Write(at, b[:])
}
