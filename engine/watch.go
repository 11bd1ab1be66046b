package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// watches are what serves a process's debug registers, the same in all its tasks: they are set
// while these stand, and in new tasks at their first stop.
type watches [ptrace.MaxDebug]*probe.Placement

// ErrDebug is of a process that has no debug register left.
var ErrDebug = errors.New("all debug registers of the process are in use")

// errForeignFull is of a place that only one could serve.
var errForeignFull = fmt.Errorf("%w (another debugger's trap, or a uprobe, lies there), and %w", breakpoint.ErrForeign, ErrDebug)

// plantWatch puts a probe into debug registers.
func (s *session) plantWatch(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	added, err := s.takeWatches(p, proc, spots)
	if err == nil {
		err = s.guardSpace(proc, spots[0].Addr, 1)
	}
	if err == nil {
		err = s.setAllWatches(proc)
	}
	if err != nil {
		return errors.Join(err, s.removeWatches(proc, added...))
	}
	for _, pl := range added {
		s.place(pl)
	}
	return nil
}

// takeWatches notes which debug registers of a process are to serve a probe. With an error it is
// those that it has noted.
func (s *session) takeWatches(p *probe.Probe, proc *inferior.Process, spots []probe.Target) (added []*probe.Placement, err error) {
	w := s.watches[proc]
	if w == nil {
		w = new(watches)
		s.watches[proc] = w
	}
	for _, sp := range spots {
		i := slices.Index(w[:], nil)
		switch {
		case i < 0:
			return added, fmt.Errorf("probe at %s: %w", sp.Addr, ErrDebug)
		case ptrace.DebugBefore && p.Spec.Watch == Execute && isUprobe(proc.Space, sp.Addr):
			return added, fmt.Errorf("probe at %s: %w", sp.Addr, errUprobe)
		}
		w[i] = sp.Placement(p, proc)
		w[i].Rung = breakpoint.Hardware
		added = append(added, w[i])
	}
	return added, nil
}

// errUprobe is of an instruction that a debug register can't serve: a task that was
// stopped before it is stepped over it without, and on arm64 the kernel, when it
// has stepped over what its uprobe displaced, ends our step too
// (arch_uprobe_post_xol): the task would go on without its debug registers.
var errUprobe = errors.New("a uprobe of the kernel's is there")

// uprobeTrap is the kernel's (brk #5, UPROBES_BRK_IMM in asm/brk-imm.h).
const uprobeTrap = 0xd42000a0

func isUprobe(space *inferior.Space, addr arch.Addr) bool {
	var b [4]byte
	return space.Memory.Read(addr, b[:]) == nil && binary.LittleEndian.Uint32(b[:]) == uprobeTrap
}

// watchesCode is whether a debug register serves an instruction.
func (s *session) watchesCode(proc *inferior.Process, addr arch.Addr) bool {
	if w := s.watches[proc]; w != nil {
		for _, pl := range w {
			if pl != nil && pl.Addr == addr && pl.Probe.Spec.Watch == Execute {
				return true
			}
		}
	}
	return false
}

// removeWatches takes placements out of a process's debug registers.
func (s *session) removeWatches(proc *inferior.Process, list ...*probe.Placement) error {
	w := s.watches[proc]
	if w == nil {
		return nil
	}
	for i := range w {
		if w[i] != nil && slices.Contains(list, w[i]) {
			w[i] = nil
		}
	}
	return s.setAllWatches(proc)
}

// forgetWatches forgets what serves a process's debug registers.
func (s *session) forgetWatches(proc *inferior.Process) { delete(s.watches, proc) }

// watchesHit are what serves the debug registers of a task, these, and of which the task has met
// what they wait for.
func (s *session) watchesHit(t *inferior.Task, info *ptrace.SigInfo) (w *watches, regs [ptrace.MaxDebug]ptrace.Debug, bits uint8, err error) {
	regs, any := s.settings(t.Process)
	if any {
		bits, err = ptrace.DebugHit(t.TID, info, &regs)
	}
	return s.watches[t.Process], regs, bits, err
}

// settings are the debug registers that a process's tasks should have.
func (s *session) settings(proc *inferior.Process) (regs [ptrace.MaxDebug]ptrace.Debug, any bool) {
	w := s.watches[proc]
	if w == nil {
		return regs, false
	}
	kinds := [...]ptrace.DebugKind{Execute: ptrace.DebugExecute, Write: ptrace.DebugWrite, ReadWrite: ptrace.DebugReadWrite}
	for i, pl := range w {
		if pl != nil {
			regs[i] = ptrace.Debug{Addr: pl.Addr, Len: max(pl.Probe.Spec.Len, 1), Kind: kinds[pl.Probe.Spec.Watch]}
			any = true
		}
	}
	return regs, any
}

// setAllWatches brings all tasks of a process up to date. The guard is told
// first: from then on a debug trap may be ours.
func (s *session) setAllWatches(proc *inferior.Process) error {
	regs, any := s.settings(proc)
	proc.Space.Guard.Watches = any
	if err := s.guard.Swallow(proc.Space, false); err != nil {
		return err
	}
	stuck := s.loop.HaltAll([]*inferior.Process{proc}).Stuck()
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
		errs = append(errs, s.loop.Unhalt(t))
	}
	if stuck > 0 {
		errs = append(errs, fmt.Errorf("%d tasks without debug registers: %w", stuck, tasks.ErrBusy))
	}
	return errors.Join(errs...)
}

// setWatches gives a new task its process's debug registers.
func (s *session) setWatches(t *inferior.Task) error {
	regs, any := s.settings(t.Process)
	if !any {
		return nil
	}
	t.Watched = true
	return ptrace.SetDebug(t.TID, &regs)
}

// clearWatches turns a halted task's debug registers off: they outlive a detach.
func (s *session) clearWatches(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	t.Watched = false
	return ptrace.SetDebug(t.TID, &[ptrace.MaxDebug]ptrace.Debug{})
}

// onWatch tells the hits of debug registers.
func (s *session) onWatch(t *inferior.Task, info *ptrace.SigInfo) (hit bool, err error) {
	w, regs, bits, err := s.watchesHit(t, info)
	if err != nil || bits == 0 {
		return false, err
	}
	r, err := t.Regs()
	if err != nil {
		return true, err
	}
	s.stopped.Add(1)
	view := *r
	told := len(t.Process.Space.Skips) > 0 && s.xol.Skipped(t, arch.Addr(view[s.isa.PCReg()]))
	for i, pl := range w {
		if pl != nil && bits>>i&1 != 0 && !t.Process.Silent && !told && !pl.Probe.Spec.Held {
			s.watchHit(t, pl, &view)
		}
	}
	if ptrace.DebugBefore {
		return true, s.stepWatch(t, &regs)
	}
	return true, s.loop.Resume(t, 0)
}

func (s *session) watchHit(t *inferior.Task, pl *probe.Placement, view *arch.Regs) {
	site := breakpoint.Site{Addr: arch.Addr(view[s.isa.PCReg()])}
	code := func() []byte { return t.Process.Space.Table.CodeAt(&site) }
	if pl.Exit != nil && !s.leaves(t, pl, code, view) {
		return
	}
	pl.Hits.Add(1)
	s.act(t, &site, pl, view)
}

// leaveWatch is before a signal: where the task stands at an instruction whose hit has
// been told, it will come back to it, and that is no other hit.
func (s *session) leaveWatch(t *inferior.Task) error {
	if !t.Watched {
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	view := *r
	pc := arch.Addr(view[s.isa.PCReg()])
	if s.watchesCode(t.Process, pc) && ptrace.TakeResume(&view) {
		t.SetRegs(&view)
		xol.AddSkip(t, pc, view[s.isa.SPReg()])
	}
	return nil
}

// stepWatch lets a task make the access that its debug registers reported
// before it happened.
func (s *session) stepWatch(t *inferior.Task, regs *[ptrace.MaxDebug]ptrace.Debug) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if err := ptrace.SetDebug(t.TID, &[ptrace.MaxDebug]ptrace.Debug{}); err != nil {
		return err
	}
	from, err := t.Regs()
	if err != nil {
		return err
	}
	pc, sp := arch.Addr(from[s.isa.PCReg()]), from[s.isa.SPReg()]
	if err := ptrace.Step(t.TID, 0); err != nil {
		return err
	}
	stop, err := s.loop.Next(t)
	if err != nil {
		return err
	}
	if stop.Kind != ptrace.Exited && stop.Kind != ptrace.Killed {
		if err := ptrace.SetDebug(t.TID, regs); err != nil {
			return err
		}
	}
	if stop.Kind == ptrace.Signal && stop.Signal == ptrace.SIGTRAP {
		return s.loop.Resume(t, 0)
	}
	if stop.Kind == ptrace.Signal { // came before the instruction, to which the task comes back
		if now, err := t.PC(); err == nil && now == pc {
			xol.AddSkip(t, pc, sp)
		}
	}
	return s.Decide(t, stop)
}
