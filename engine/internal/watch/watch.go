// Package watch has the processor's debug registers serve probes: they stop a task at an
// instruction, or at an access to data, where no code is to be changed.
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

// Registers are the debug registers of a session's processes.
type Registers struct {
	loop  *tasks.Set
	guard *guard.Guard
	of    map[*inferior.Process]*Placements
}

// New is a session's, which uses none.
func New(loop *tasks.Set, g *guard.Guard) *Registers {
	return &Registers{loop: loop, guard: g, of: map[*inferior.Process]*Placements{}}
}

// Placements are what serves a process's debug registers, the same in all its tasks: they are set
// while these stand, and in new tasks at their first stop.
type Placements [ptrace.MaxDebug]*probe.Placement

// ErrDebug is of a process that has no debug register left.
var ErrDebug = errors.New("all debug registers of the process are in use")

// ErrForeignFull is of a place that only one could serve.
var ErrForeignFull = fmt.Errorf("%w (another debugger's trap, or a uprobe, lies there), and %w", breakpoint.ErrForeign, ErrDebug)

// Take notes which debug registers of a process are to serve a probe. With an error it is
// those that it has noted.
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

// ErrUprobe is of an instruction that a debug register can't serve: a task that was
// stopped before it is stepped over it without, and on arm64 the kernel, when it
// has stepped over what its uprobe displaced, ends our step too
// (arch_uprobe_post_xol): the task would go on without its debug registers.
var ErrUprobe = errors.New("a uprobe of the kernel's is there")

// uprobeTrap is the kernel's (brk #5, UPROBES_BRK_IMM in asm/brk-imm.h).
const uprobeTrap = 0xd42000a0

func isUprobe(space *inferior.Space, addr arch.Addr) bool {
	var b [4]byte
	return space.Memory.Read(addr, b[:]) == nil && binary.LittleEndian.Uint32(b[:]) == uprobeTrap
}

// Code is whether a debug register serves an instruction.
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

// Remove takes placements out of a process's debug registers.
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

// Hit are what serves the debug registers of a task, these, and of which the task has met
// what they wait for.
func (r *Registers) Hit(t *inferior.Task, info *ptrace.SigInfo) (w *Placements, regs [ptrace.MaxDebug]ptrace.Debug, bits uint8, err error) {
	regs, any := r.settings(t.Process)
	if any {
		bits, err = ptrace.DebugHit(t.TID, info, &regs)
	}
	return r.of[t.Process], regs, bits, err
}

// settings are the debug registers that a process's tasks should have.
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

// SetAll brings all tasks of a process up to date. The guard is told
// first: from then on a debug trap may be ours.
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

// Set gives a new task its process's debug registers.
func (r *Registers) Set(t *inferior.Task) error {
	regs, any := r.settings(t.Process)
	if !any {
		return nil
	}
	t.Watched = true
	return ptrace.SetDebug(t.TID, &regs)
}

// Clear turns a halted task's debug registers off: they outlive a detach.
func (r *Registers) Clear(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	t.Watched = false
	return ptrace.SetDebug(t.TID, &[ptrace.MaxDebug]ptrace.Debug{})
}
