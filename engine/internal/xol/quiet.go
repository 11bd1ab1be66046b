package xol

import (
	"encoding/binary"
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// quiet keeps signals from a task, but for faults and the traps of its steps. The
// guard is told first: should the tracer die it gives back what the task is to have.
type quiet struct {
	x      *XOL
	task   *inferior.Task
	inHand *ptrace.SigInfo // a signal that it has not been given yet, nil: none
	mask   uint64          // the task's own
	on     bool
}

// quietMask is what it blocks; the kernel does not block bitsForced.
const (
	quietMask  = ^uint64(guard.BitTrap | guard.BitsSync)
	bitsForced = 1<<(9-1) | 1<<(19-1) // KILL, STOP
)

func (q *quiet) begin() (err error) {
	if q.on {
		return nil
	}
	if q.mask, err = ptrace.GetSigMask(q.task.TID); err == nil {
		err = q.x.guard.Note(q.task, q.mask, q.inHand)
	}
	if err == nil {
		err, q.on = ptrace.SetSigMask(q.task.TID, quietMask), true
	}
	return err
}

func (q *quiet) end() error {
	if !q.on {
		return nil
	}
	err := ptrace.SetSigMask(q.task.TID, q.mask)
	if q.inHand == nil { // else when it has got that
		err = errors.Join(err, q.x.guard.Forget(q.task))
	}
	return err
}

// Unquiet gives a halted task its signals back that a dead tracer had blocked for a step
// which it did not come to: the guard was not asked. Nothing else blocks just those.
func Unquiet(p *inferior.Process, table *breakpoint.Table) {
	var note [16]byte
	if !table.Prepared() || p.Space.Memory.Read(table.GuardHeader()+arch.GuardNote, note[:]) != nil {
		return
	}
	t := p.Tasks[int(binary.LittleEndian.Uint64(note[:]))]
	if t == nil || !t.AtEvent() {
		return
	}
	if mask, err := ptrace.GetSigMask(t.TID); err == nil && mask == quietMask&^bitsForced {
		_ = ptrace.SetSigMask(t.TID, binary.LittleEndian.Uint64(note[arch.GuardNoteMask-arch.GuardNote:]))
	}
}
