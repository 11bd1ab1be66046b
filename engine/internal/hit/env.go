package hit

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/unwind"
)

// env is the stopped task at a probe for which a handler runs in the engine. It implements
// interp.Env.
type env struct {
	s     *Hits
	t     *inferior.Task
	p     *probe.Placement
	regs  *arch.Regs
	print func(string) // what gets the handler's text; nil: it is told as an event
	stack unwind.Walker
}

// enter sets the task, the placement and the registers for the next run.
func (e *env) enter(s *Hits, t *inferior.Task, p *probe.Placement, regs *arch.Regs) {
	e.s, e.t, e.p, e.regs = s, t, p, regs
	e.stack.Begin(s.isa, t.Process.Space.Memory, t.Process.Modules)
}

// Stack implements interp.Env. It fills buf with the PC and the return addresses, and returns how
// many there are.
func (e *env) Stack(buf []uint64) int { return e.stack.Walk(e.regs, e.p.Top, buf) }

// Regs implements interp.Env.
func (e *env) Regs() *arch.Regs { return e.regs }

// ReadMemory implements interp.Env. It reads as if there were no probes.
func (e *env) ReadMemory(addr arch.Addr, buf []byte) error {
	return e.t.Process.Space.Table.ReadOriginal(addr, buf)
}

// WriteMemory implements interp.Env. It keeps the probes.
func (e *env) WriteMemory(addr arch.Addr, data []byte) error {
	return writeAtHit(e.t, addr, data)
}

// Time implements interp.Env.
func (e *env) Time() uint64 { return uint64(ptrace.Now()) }

// BootTime implements interp.Env.
func (e *env) BootTime() uint64 { return uint64(ptrace.BootTime()) }

// PIDTGID implements interp.Env.
func (e *env) PIDTGID() uint64 { return uint64(e.t.Process.PID)<<32 | uint64(e.t.TID) }

// Cookie implements interp.Env.
func (e *env) Cookie() uint64 { return e.p.Probe.Spec.Cookie }

// FuncIP implements interp.Env.
func (e *env) FuncIP() uint64 { return uint64(e.p.Addr) }

// CPU implements interp.Env. It is the CPU on which the task ran last.
func (e *env) CPU() int { return max(ptrace.LastCPU(e.t.TID), 0) }

// UIDGID implements interp.Env.
func (e *env) UIDGID() uint64 {
	st, err := procfs.ReadStatus(e.t.TID)
	if err != nil {
		return 0
	}
	return uint64(uint32(st.Number("Gid")))<<32 | uint64(uint32(st.Number("Uid")))
}

// Comm implements interp.Env.
func (e *env) Comm() (name [16]byte) {
	copy(name[:15], procfs.Comm(e.t.TID))
	return name
}

// Print implements interp.Env.
func (e *env) Print(text string) {
	if e.print != nil {
		e.print(text)
		return
	}
	e.s.printed(e.t, e.p, text)
}
