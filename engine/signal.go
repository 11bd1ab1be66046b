package engine

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// onSignal decides a signal-delivery-stop. All signals but our own traps go to
// the program with their siginfo, without asking anybody.
func (s *session) onSignal(t *inferior.Task, stop ptrace.Stop) error {
	entering := t.Entering
	t.Entering = false
	if stop.Signal == ptrace.SIGTRAP {
		if entering {
			return s.onEntered(t)
		}
		return s.onTrapSignal(t)
	}
	if err := restart(t); err != nil { // no handler may run: the signal is ignored
		return err
	}
	if s.opts.Signals && !t.Process.Silent {
		e := event.Event{Kind: event.Signal, PID: t.Process.PID, TID: t.TID, Signal: int(stop.Signal)}
		s.tell(&e, false)
	}
	return s.deliver(t, stop.Signal)
}

// deliver passes a signal on. A task that stands in a slot is first put where
// the program would be, so that no signal frame ever shows a slot.
func (s *session) deliver(t *inferior.Task, signal ptrace.Signo) error {
	if t.Process.Space.Table.Prepared() {
		var inside *breakpoint.Site
		var err error
		if signal, inside, err = s.finishRun(t, signal); err != nil {
			return err
		}
		if inside != nil {
			return s.faultInside(t, signal, inside)
		}
		if signal == ptrace.SIGTRAP { // the program's own
			err = s.guard.Swallow(t.Process.Space, false)
		}
		if err := errors.Join(err, s.leaveSlot(t, true)); err != nil {
			return err
		}
	}
	if err := s.leaveWatch(t); err != nil {
		return err
	}
	return s.loop.Resume(t, signal)
}

// finishRun has a task behind a jump go through to its end before it gets a
// signal, and says which: a fault of a displaced instruction comes at once, shown
// where the program has that instruction. If that is in the middle of a jump, it
// gives the site.
func (s *session) finishRun(t *inferior.Task, signal ptrace.Signo) (_ ptrace.Signo, inside *breakpoint.Site, err error) {
	table := t.Process.Space.Table
	if !table.AnyRun() {
		return signal, nil, nil
	}
	pc, err := t.PC()
	if err != nil || !table.InRun(pc) {
		return signal, nil, err
	}
	if fault, err := isFault(t, signal); err != nil {
		return signal, nil, err
	} else if fault {
		inside, err = s.showEnd(t)
		return signal, inside, err
	}
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return signal, nil, err
	}
	l, err := s.leaveRun(t, &info)
	if err != nil || !l.moved {
		return signal, nil, err
	}
	if l.late != 0 { // it comes again
		_ = ptrace.Send(t.Process.PID, t.TID, l.late)
	}
	if l.fault != 0 {
		_ = ptrace.Send(t.Process.PID, t.TID, signal)
		inside, err = s.showEnd(t)
		return l.fault, inside, err
	}
	return signal, nil, ptrace.SetSigInfo(t.TID, &info)
}

// leaveSlot moves a task that stands in a slot to the program's own code. With
// skip, a hit that has been told is not told again when the task comes back.
func (s *session) leaveSlot(t *inferior.Task, skip bool) error {
	pc, err := t.PC()
	if err != nil || !t.Process.Space.Table.InArea(pc) {
		return err
	}
	fix, site, ok := t.Process.Space.Table.Locate(pc)
	if !ok {
		return nil // in the guard or in a stub, which leave by themselves
	}
	if site.Jumps() && t.Process.Space.Table.InRun(pc) {
		return nil // the program's code is not there while it is a jump
	}
	if skip && fix.Before && site.Inst.Kind == arch.KindSyscall && s.isa.MinInst() == 4 {
		// arm64 decides between a restart and EINTR after this stop, and only
		// if the PC is still where it put it (do_signal).
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	fixed, err := s.applyFix(t, *r, fix)
	if err != nil {
		return err
	}
	t.SetRegs(&fixed)
	if fix.Before && fix.PC == site.Addr && skip && t.Process.Space.Table.At(site.Addr) == site {
		addSkip(t, site.Addr, fixed[s.isa.SPReg()])
	}
	return nil
}

// addSkip notes that a hit has been told. Old ones that nobody came back to
// were left by longjmp.
func addSkip(t *inferior.Task, addr arch.Addr, sp uint64) {
	const most = 64
	space := t.Process.Space
	if len(space.Skips) == most {
		space.Skips = slices.Delete(space.Skips, 0, 1)
	}
	space.Skips = append(space.Skips, inferior.Skip{TID: t.TID, Addr: addr, SP: sp})
}

// applyFix gives the registers that a task in the middle of a slot would have
// in the program's own code.
func (s *session) applyFix(t *inferior.Task, r arch.Regs, fix arch.Fix) (arch.Regs, error) {
	sp := r[s.isa.SPReg()]
	if fix.Reg >= 0 {
		var b [8]byte
		if err := t.Process.Space.Memory.Read(arch.Addr(sp+uint64(fix.RegAt)), b[:]); err != nil {
			return r, err
		}
		r[fix.Reg] = le64(b[:])
	}
	r[s.isa.PCReg()] = uint64(fix.Where(&r))
	r[s.isa.SPReg()] = sp + uint64(fix.SP)
	return r, nil
}

// view is a stopped task's registers as the program has them.
func (s *session) view(t *inferior.Task) (arch.Regs, error) {
	r, err := t.Regs()
	if err != nil {
		return arch.Regs{}, err
	}
	table := t.Process.Space.Table
	pc := arch.Addr(r[s.isa.PCReg()])
	if fix, _, ok := table.Locate(pc); ok {
		return s.applyFix(t, *r, fix)
	}
	return *r, nil
}

// onOtherTrap decides a SIGTRAP that is not at an armed trap of ours.
func (s *session) onOtherTrap(t *inferior.Task, pc arch.Addr) error {
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return err
	}
	addr := s.isa.TrapPC(pc)
	switch info.Code() {
	case ptrace.CodeHwbkpt, ptrace.CodeBrkpt, ptrace.CodeTrace, ptrace.CodeKernel:
		if hit, err := s.onWatch(t, &info); hit || err != nil {
			return err
		}
		if t.Process.Space.Table.Was(addr) && !s.trapThere(t, addr) {
			// The site was removed while this trap was on its way.
			blocked, err := s.guard.CheckBlocked(t)
			if err != nil {
				return err
			}
			t.SetPC(addr)
			return s.goOn(t, blocked)
		}
	}
	if s.opts.Signals && !t.Process.Silent {
		e := event.Event{Kind: event.Signal, PID: t.Process.PID, TID: t.TID, Signal: int(ptrace.SIGTRAP)}
		s.tell(&e, false)
	}
	return s.deliverTrap(t, info.Code())
}

func (s *session) trapThere(t *inferior.Task, addr arch.Addr) bool {
	code := make([]byte, len(s.isa.Trap()))
	return t.Process.Space.Memory.Read(addr, code) == nil && s.isa.IsTrap(code)
}

// stepOver single-steps the displaced instruction in the site's slot.
func (s *session) stepOver(t *inferior.Task, site *breakpoint.Site) error {
	cell := site.Slot()
	t.SetPC(cell)
	if err := s.guard.Swallow(t.Process.Space, true); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for {
		if err := ptrace.Step(t.TID, 0); err != nil {
			return err
		}
		stop, err := s.loop.Next(t)
		if err != nil {
			return err
		}
		pc, err := t.PC()
		switch {
		case stop.Kind != ptrace.Signal || err != nil:
			return s.Decide(t, stop)
		case stop.Signal != ptrace.SIGTRAP:
			return s.onSignal(t, stop) // before the instruction; it will come back
		case site.Stepping(pc):
			continue
		}
		return s.stepped(t, site, pc)
	}
}

// stepped corrects what a step has left: a copied instruction's own address,
// and the trap flag that pushf saved.
func (s *session) stepped(t *inferior.Task, site *breakpoint.Site, pc arch.Addr) error {
	cell := site.Slot()
	if site.Copied() && pc > cell && pc <= cell+arch.Addr(site.Inst.Len) {
		t.SetPC(site.Addr + (pc - cell))
	}
	var err error
	switch k := site.Inst.Kind; {
	case site.Copied() && (k == arch.KindCall || k == arch.KindCallIndirect):
		err = s.setReturn(t, site.End())
	case s.isa.MinInst() == 1 && pushesFlags(site.Code()[:site.Inst.Len]):
		err = s.clearTrapFlag(t)
	}
	return errors.Join(err, s.loop.Resume(t, 0))
}

// setReturn gives a call that has just been made its return address.
func (s *session) setReturn(t *inferior.Task, ret arch.Addr) error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	if s.isa.MinInst() == 4 { // the link register
		linked := *r
		linked[30] = uint64(ret)
		t.SetRegs(&linked)
		return nil
	}
	var b [8]byte
	putLe64(b[:], uint64(ret))
	return t.Process.Space.Memory.Write(arch.Addr(r[s.isa.SPReg()]), b[:])
}

// pushesFlags recognises amd64's pushf, which saves the flag that steps it.
func pushesFlags(code []byte) bool {
	return len(code) > 0 && code[len(code)-1] == 0x9c && len(code) <= 2
}

func (s *session) clearTrapFlag(t *inferior.Task) error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	var b [2]byte
	at, mem := arch.Addr(r[s.isa.SPReg()]), t.Process.Space.Memory
	if err := mem.Read(at, b[:]); err != nil {
		return err
	}
	b[1] &^= 1
	return mem.Write(at, b[:])
}
