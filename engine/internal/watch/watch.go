// Package watch serves probes by the processor's debug registers: they stop a task at an
// instruction or at an access to data, and change no code. The registers of all tasks of a process
// are the same. They are set while the tasks stand, and in new tasks at their first stop.
package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// Registers has the debug registers of a session's processes.
type Registers struct {
	loop  *tasks.Set
	guard *guard.Guard
	of    map[*inferior.Process]*Placements
}

// New returns a session's Registers. None is in use.
func New(loop *tasks.Set, g *guard.Guard) *Registers {
	return &Registers{loop: loop, guard: g, of: map[*inferior.Process]*Placements{}}
}

// Placements are the placements that a process's debug registers serve, by register; nil: the
// register is free.
type Placements [ptrace.MaxDebug]*probe.Placement

// ErrDebug says that a process has no free debug register.
var ErrDebug = errors.New("all debug registers of the process are in use")

// ErrForeignFull says that only a debug register could serve a place, and that none is free.
var ErrForeignFull = fmt.Errorf("%w (another debugger's trap, or a uprobe, lies there), and %w", breakpoint.ErrForeign, ErrDebug)

// Take reserves debug registers of a process for a probe's targets. It sets none; SetAll does. With
// an error it returns the placements that it has reserved registers for.
func (r *Registers) Take(p *probe.Probe, proc *inferior.Process, spots []probe.Target) (added []*probe.Placement, err error) {
	w := r.of[proc]
	if w == nil {
		w = new(Placements)
		r.of[proc] = w
	}
	for _, sp := range spots {
		i := slices.Index(w[:], nil)
		switch {
		case i < 0:
			return added, fmt.Errorf("probe at %s: %w", sp.Addr, ErrDebug)
		case ptrace.DebugBefore && p.Spec.Watch == api.AccessExecute && isUprobe(proc.Space, sp.Addr):
			return added, fmt.Errorf("probe at %s: %w", sp.Addr, ErrUprobe)
		}
		w[i] = sp.Placement(p, proc)
		w[i].Rung = breakpoint.Hardware
		added = append(added, w[i])
	}
	return added, nil
}

// ErrUprobe says that a debug register can't serve an instruction with a uprobe (arm64). A task
// that was stopped before the instruction is stepped over it without its debug registers. When the
// kernel has stepped over the instruction that its uprobe displaced, it ends the tracer's step, too
// (arch_uprobe_post_xol): the task would go on without its debug registers.
var ErrUprobe = errors.New("a uprobe of the kernel's is there")

// uprobeTrap is the kernel's trap (brk #5, UPROBES_BRK_IMM in asm/brk-imm.h).
const uprobeTrap = 0xd42000a0

// isUprobe reports whether a kernel uprobe lies at an address.
func isUprobe(space *inferior.Space, addr arch.Addr) bool {
	var b [4]byte
	return space.Memory.Read(addr, b[:]) == nil && binary.LittleEndian.Uint32(b[:]) == uprobeTrap
}

// Code reports whether a debug register serves the instruction at an address of a process.
func (r *Registers) Code(proc *inferior.Process, addr arch.Addr) bool {
	if w := r.of[proc]; w != nil {
		for _, pl := range w {
			if pl != nil && pl.Addr == addr && pl.Probe.Spec.Watch == api.AccessExecute {
				return true
			}
		}
	}
	return false
}

// Remove frees the debug registers of placements.
func (r *Registers) Remove(proc *inferior.Process, list ...*probe.Placement) error {
	w := r.of[proc]
	if w == nil {
		return nil
	}
	for i := range w {
		if w[i] != nil && slices.Contains(list, w[i]) {
			w[i] = nil
		}
	}
	return r.SetAll(proc)
}

// Forked implements inferior.Room: a child has no debug registers set.
func (r *Registers) Forked(parent, child *inferior.Process) {}

// Left implements inferior.Room.
func (r *Registers) Left(p *inferior.Process, _ bool) { delete(r.of, p) }

// Hit returns the placements and the settings of a task's debug registers, and which of the
// registers were hit, a bit each.
func (r *Registers) Hit(t *inferior.Task, info *ptrace.SigInfo) (w *Placements, regs [ptrace.MaxDebug]ptrace.Debug, bits uint8, err error) {
	regs, any := r.settings(t.Process)
	if any {
		bits, err = ptrace.DebugHit(t.TID, info, &regs)
	}
	return r.of[t.Process], regs, bits, err
}

// settings returns the debug registers that a process's tasks should have, and whether there are
// any.
func (r *Registers) settings(proc *inferior.Process) (regs [ptrace.MaxDebug]ptrace.Debug, any bool) {
	w := r.of[proc]
	if w == nil {
		return regs, false
	}
	kinds := [...]ptrace.DebugKind{api.AccessExecute: ptrace.DebugExecute, api.AccessWrite: ptrace.DebugWrite, api.AccessReadWrite: ptrace.DebugReadWrite}
	for i, pl := range w {
		if pl != nil {
			regs[i] = ptrace.Debug{Addr: pl.Addr, Len: max(pl.Probe.Spec.Len, 1), Kind: kinds[pl.Probe.Spec.Watch]}
			any = true
		}
	}
	return regs, any
}

// SetAll sets the debug registers of all tasks of a process. The guard is told first: from then on
// a debug trap may be ptracer's.
func (r *Registers) SetAll(proc *inferior.Process) error {
	regs, any := r.settings(proc)
	proc.Space.Guard.Watches = any
	if err := r.guard.Swallow(proc.Space, false); err != nil {
		return err
	}
	stuck := r.loop.HaltAll([]*inferior.Process{proc}).Stuck()
	var errs []error
	for _, t := range proc.Tasks {
		if t.AtEvent() {
			t.Watched = any
			if err := ptrace.SetDebug(t.TID, &regs); err != nil && !ptrace.IsGone(err) {
				errs = append(errs, err)
			}
		}
	}
	for _, t := range proc.Tasks {
		errs = append(errs, r.loop.Unhalt(t))
	}
	if stuck > 0 {
		errs = append(errs, fmt.Errorf("%d tasks without debug registers: %w", stuck, tasks.ErrBusy))
	}
	return errors.Join(errs...)
}

// Set sets the debug registers of a new task.
func (r *Registers) Set(t *inferior.Task) error {
	regs, any := r.settings(t.Process)
	if !any {
		return nil
	}
	t.Watched = true
	return ptrace.SetDebug(t.TID, &regs)
}

// Clear turns a halted task's debug registers off: they would outlive a detach.
func (r *Registers) Clear(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	t.Watched = false
	return ptrace.SetDebug(t.TID, &[ptrace.MaxDebug]ptrace.Debug{})
}
