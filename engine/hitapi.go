package engine

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Hit is a stopped task at a probe, given to a ProbeSpec's Func. It is valid
// only during the call, which runs on the session's thread and keeps all other
// stops waiting: be quick, and call no method of the Session.
type Hit struct {
	s       *session
	t       *inferior.Task
	p       *placement
	site    *breakpoint.Site
	regs    *arch.Regs
	changed bool
}

// PID is the process's id.
func (h *Hit) PID() int { return h.t.Process.PID }

// TID is the thread's id.
func (h *Hit) TID() int { return h.t.TID }

// Probe is the probe that was hit.
func (h *Hit) Probe() event.ProbeID { return h.p.probe.id }

// Location is the place's name, BINARY:FUNCTION[+OFF].
func (h *Hit) Location() string { return h.p.name }

// Addr is the probed address.
func (h *Hit) Addr() arch.Addr { return h.p.addr }

// Arg is the i-th integer argument, at a function's entry; 0 where the calling
// convention passes it in no register.
func (h *Hit) Arg(i int) uint64 {
	v, _ := h.s.isa.Arg(h.regs, i)
	return v
}

// Result is what a function returns, at its exit.
func (h *Hit) Result() uint64 { return h.s.isa.Result(h.regs) }

// Registers are the task's, before the probed instruction.
func (h *Hit) Registers() arch.Regs { return *h.regs }

// SetRegisters changes the task's registers before the probed instruction is
// executed. A changed PC makes the task go on there instead.
func (h *Hit) SetRegisters(r arch.Regs) { *h.regs, h.changed = r, true }

// ReadMemory reads the process's memory as if there were no probes.
func (h *Hit) ReadMemory(addr arch.Addr, buf []byte) error {
	return h.t.Process.Space.Table.ReadOriginal(addr, buf)
}

// WriteMemory writes the process's memory.
func (h *Hit) WriteMemory(addr arch.Addr, data []byte) error {
	return writeAtHit(h.t, addr, data)
}

// String reads the zero-terminated string at addr, up to 256 bytes.
func (h *Hit) String(addr arch.Addr) string { return h.s.readString(h.t, addr) }

// Stop keeps the task stopped until Session.Resume, after an event.Stopped.
func (h *Hit) Stop() {
	h.t.User = true
	e := h.s.hitEvent(h.t, h.p, h.regs)
	e.Kind = event.Stopped
	h.s.tell(&e, true)
}

// flush gives changed registers to the task; those of the pass that follows a
// hit come on top.
func (h *Hit) flush() {
	if !h.changed {
		return
	}
	h.t.SetRegs(h.regs)
	h.t.Moved = arch.Addr(h.regs[h.s.isa.PCReg()]) != h.site.Addr
}

func le64(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putLe64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
