package hit

import (
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// StepOut brings a task out of a trampoline (xol.StepOut) that stands in an event stop. The task is
// to be in such a stop again behind the trampoline. done reports that it is on its way there.
func (x *Hits) StepOut(t *inferior.Task) (done bool, err error) {
	l, err := x.xol.StepOut(t, nil)
	if !l.Moved || err != nil {
		return l.Moved, err
	}
	signal := l.Late
	if l.Fault != 0 {
		signal = l.Fault
		inside, err := x.xol.ShowEnd(t)
		if err != nil {
			return true, err
		}
		if inside != nil {
			return true, x.FaultInside(t, signal, inside)
		}
	}
	t.Asked = true
	if err := ptrace.Interrupt(t.TID); err != nil {
		return true, err
	}
	return true, x.loop.LetGo(t, signal)
}

// TrapPending reports whether a task stands in an event stop between a trap of ptracer's and its
// SIGTRAP: the kernel serves job control first (get_signal). The task is not halted before it has
// taken the signal.
func (x *Hits) TrapPending(t *inferior.Task) bool {
	if !t.Watched && !x.pastTrap(t) {
		return false
	}
	st, err := procfs.ReadStatus(t.TID)
	return err == nil && st.Hex("SigPnd")&guard.BitTrap != 0
}

// pastTrap reports whether a task is where a trap of ptracer's leaves it.
func (x *Hits) pastTrap(t *inferior.Task) bool {
	table := t.Process.Space.Table
	if !table.Prepared() {
		return false
	}
	pc, err := t.PC()
	return err == nil && (table.At(x.isa.TrapPC(pc)) != nil || table.Was(x.isa.TrapPC(pc)))
}
