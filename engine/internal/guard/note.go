package guard

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Note tells the guard what a task is to have if the tracer dies: its mask, and a signal.
func (g *Guard) Note(t *inferior.Task, mask uint64, info *ptrace.SigInfo) error {
	if !ptrace.StepsOutlive {
		return nil
	}
	var note [arch.GuardNoteInfo - arch.GuardNote + len(ptrace.SigInfo{})]byte
	binary.LittleEndian.PutUint64(note[:], uint64(t.TID))
	binary.LittleEndian.PutUint64(note[arch.GuardNoteMask-arch.GuardNote:], mask)
	if info != nil {
		binary.LittleEndian.PutUint64(note[arch.GuardNoteSig-arch.GuardNote:], uint64(info.Signal()))
		copy(note[arch.GuardNoteInfo-arch.GuardNote:], info[:])
	}
	g.noted = t
	return t.Process.Space.Memory.Write(t.Process.Space.Table.GuardHeader()+arch.GuardNote, note[:])
}

// Forget takes that back: the task has what it is to have.
func (g *Guard) Forget(t *inferior.Task) error {
	if g.noted != t {
		return nil
	}
	g.noted = nil
	return t.Process.Space.Memory.Write(t.Process.Space.Table.GuardHeader()+arch.GuardNote, make([]byte, 8))
}
