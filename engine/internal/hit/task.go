package hit

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// taskHit is the api.Hit of a local session.
type taskHit struct {
	s       *Hits
	t       *inferior.Task
	p       *probe.Placement
	site    *breakpoint.Site
	regs    *arch.Regs
	changed bool
}

// PID implements Hit.
func (h *taskHit) PID() int { return h.t.Process.PID }

// TID implements Hit.
func (h *taskHit) TID() int { return h.t.TID }

// Probe implements Hit.
func (h *taskHit) Probe() event.ProbeID { return h.p.Probe.ID }

// Location implements Hit.
func (h *taskHit) Location() string { return h.p.Name }

// Addr implements Hit.
func (h *taskHit) Addr() arch.Addr { return h.p.Addr }

// Arg implements Hit.
func (h *taskHit) Arg(i int) uint64 {
	v, ok := h.s.arg(h.t, h.p, h.regs, i)
	if !ok && h.p.Calls == arch.NotKnown {
		h.tellNotKnown("arguments")
	}
	return v
}

// tellNotKnown warns, once for a placement, that its Func asks for what is not known.
func (h *taskHit) tellNotKnown(what string) {
	if !h.p.Told {
		h.p.Told = true
		h.s.loop.Warn(h.t.Process, "%s: nothing says where the function has its %s", h.p.Name, what)
	}
}

// Calls implements Hit.
func (h *taskHit) Calls() arch.Convention { return h.p.Calls }

// Result implements Hit.
func (h *taskHit) Result() uint64 {
	if h.p.Calls == arch.GoStack || h.p.Calls == arch.NotKnown {
		h.tellNotKnown("results")
		return 0
	}
	return h.s.isa.Result(h.regs)
}

// Registers implements Hit.
func (h *taskHit) Registers() arch.Regs { return *h.regs }

// SetRegisters implements Hit.
func (h *taskHit) SetRegisters(r arch.Regs) { *h.regs, h.changed = r, true }

// ReadMemory implements Hit.
func (h *taskHit) ReadMemory(addr arch.Addr, buf []byte) error {
	return h.t.Process.Space.Table.ReadOriginal(addr, buf)
}

// WriteMemory implements Hit.
func (h *taskHit) WriteMemory(addr arch.Addr, data []byte) error {
	return writeAtHit(h.t, addr, data)
}

// String implements Hit.
func (h *taskHit) String(addr arch.Addr) string { return h.s.readString(h.t, addr) }

// Stop implements Hit.
func (h *taskHit) Stop() { h.s.stop(h.t, h.p, h.regs) }

// flush gives changed registers to the task. What pass changes afterwards is added.
func (h *taskHit) flush() {
	if !h.changed {
		return
	}
	h.t.SetRegs(h.regs)
	h.t.Moved = arch.Addr(h.regs[h.s.isa.PCReg()]) != h.site.Addr
}
