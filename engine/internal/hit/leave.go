package hit

import (
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// OutOfRun is leaveRun for a task in an event stop, which it is to be in again
// behind it; done says that this is on its way.
func (x *Hits) OutOfRun(t *inferior.Task) (done bool, err error) {
	l, err := x.xol.LeaveRun(t, nil)
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

// TrapPending says whether a task stands in an event stop that came between a
// trap of ours and its signal (get_signal serves job control first): it is not
// halted before it has taken the signal.
func (x *Hits) TrapPending(t *inferior.Task) bool {
	if !t.Watched && !x.pastTrap(t) {
		return false
	}
	st, err := procfs.ReadStatus(t.TID)
	return err == nil && st.Hex("SigPnd")&guard.BitTrap != 0
}

// pastTrap says whether a task is where a trap of ours would have left it.
func (x *Hits) pastTrap(t *inferior.Task) bool {
	table := t.Process.Space.Table
	if !table.Prepared() {
		return false
	}
	pc, err := t.PC()
	return err == nil && (table.At(x.isa.TrapPC(pc)) != nil || table.Was(x.isa.TrapPC(pc)))
}
