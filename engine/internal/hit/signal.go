package hit

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// FaultInside serves a fault in the middle of a jump. The signal's handler may mend the cause and
// come back to the instruction, so the jump is made a trap before the task goes on with the signal.
func (x *Hits) FaultInside(t *inferior.Task, signal ptrace.Signo, site *breakpoint.Site) error {
	probe.Of(site).Faulted = true
	t.HeldSig = signal // the task gets the signal on its way to the pause
	return x.jump.Downgrade(t.Process.Space, []*breakpoint.Site{site}, "no jump: "+jump.ErrFaulted.Error())
}

// OnSignal decides a signal-delivery-stop. All signals but ptracer's own traps go to the program,
// with their siginfo, and no client is asked.
func (x *Hits) OnSignal(t *inferior.Task, stop ptrace.Stop) error {
	entering := t.Entering
	t.Entering = false
	if stop.Signal == ptrace.SIGTRAP {
		if entering {
			return x.onEntered(t)
		}
		return x.onTrapSignal(t)
	}
	if err := t.Restart(); err != nil { // the call is restarted: the program may ignore the signal
		return err
	}
	x.tellSignal(t, stop.Signal)
	return x.deliver(t, stop.Signal)
}

// tellSignal tells a signal that a task is about to get, if signals are told.
func (x *Hits) tellSignal(t *inferior.Task, signal ptrace.Signo) {
	if x.signals && !t.Process.Silent {
		x.queue.Tell(&event.Event{PID: t.Process.PID, TID: t.TID, Body: &event.Signal{Signal: int(signal)}}, false)
	}
}

// deliver gives a signal to the program. A task that stands in a slot or a trampoline is first put
// where the program would be: a signal's frame never shows ptracer's code.
func (x *Hits) deliver(t *inferior.Task, signal ptrace.Signo) error {
	if t.Process.Space.Table.Prepared() {
		var inside *breakpoint.Site
		var err error
		if signal, inside, err = x.xol.StepOutFor(t, signal); err != nil {
			return err
		}
		if inside != nil {
			return x.FaultInside(t, signal, inside)
		}
		if signal == ptrace.SIGTRAP { // the program's own
			if err := x.guard.Swallow(t.Process.Space, false); err != nil {
				return err
			}
		}
		if err := x.xol.LeaveSlot(t, true); err != nil {
			return err
		}
	}
	if err := x.leaveWatch(t); err != nil {
		return err
	}
	return x.loop.Resume(t, signal)
}

// onOtherTrap decides a SIGTRAP that is not of an armed trap of ptracer's.
func (x *Hits) onOtherTrap(t *inferior.Task, pc arch.Addr) error {
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return err
	}
	addr := x.isa.TrapPC(pc)
	switch info.Code() {
	case ptrace.CodeHwbkpt, ptrace.CodeBrkpt, ptrace.CodeTrace, ptrace.CodeKernel:
		if hit, err := x.onWatch(t, &info); hit || err != nil {
			return err
		}
		if t.Process.Space.Table.Was(addr) && !x.trapThere(t, addr) {
			// The site was removed while this trap was on its way.
			blocked, err := x.guard.CheckBlocked(t)
			if err != nil {
				return err
			}
			t.SetPC(addr)
			return x.goOn(t, blocked)
		}
	}
	x.tellSignal(t, ptrace.SIGTRAP)
	return x.deliverTrap(t, info.Code())
}

// trapThere reports whether a trap lies at an address: another tool's, or the program's own.
func (x *Hits) trapThere(t *inferior.Task, addr arch.Addr) bool {
	code := make([]byte, len(x.isa.Trap()))
	return t.Process.Space.Memory.Read(addr, code) == nil && x.isa.IsTrap(code)
}
