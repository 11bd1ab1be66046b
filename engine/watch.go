package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// watches are the hardware probes: for each process the same debug registers
// in all its tasks, set while they stand, and in new tasks at their first stop.
type watches map[*inferior.Process]*[ptrace.MaxDebug]*placement

// ErrDebug is of a process that has no debug register left.
var ErrDebug = errors.New("all debug registers of the process are in use")

// errForeignFull is of a place that only one could serve.
var errForeignFull = fmt.Errorf("%w (another debugger's trap, or a uprobe, lies there), and %w", breakpoint.ErrForeign, ErrDebug)

// plantWatch puts a probe into debug registers.
func (s *session) plantWatch(p *probe, proc *inferior.Process, spots []spot) error {
	if s.watches == nil {
		s.watches = watches{}
	}
	w := s.watches[proc]
	if w == nil {
		w = new([ptrace.MaxDebug]*placement)
		s.watches[proc] = w
	}
	var added []int
	for _, sp := range spots {
		i := freeWatch(w)
		if i < 0 {
			return errors.Join(fmt.Errorf("probe at %s: %w", sp.addr, ErrDebug), s.dropWatches(proc, added))
		}
		if ptrace.DebugBefore && p.spec.Watch == AccessExecute && isUprobe(proc.Space, sp.addr) {
			return errors.Join(fmt.Errorf("probe at %s: %w", sp.addr, errUprobe), s.dropWatches(proc, added))
		}
		w[i] = sp.placement(p, proc)
		w[i].rung = breakpoint.Hardware
		added = append(added, i)
	}
	if err := s.guardSpace(proc, spots[0].addr, 1); err != nil {
		return errors.Join(err, s.dropWatches(proc, added))
	}
	if err := s.setAllWatches(proc); err != nil {
		return errors.Join(err, s.dropWatches(proc, added))
	}
	for _, i := range added {
		s.place(w[i])
	}
	return nil
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
			if pl != nil && pl.addr == addr && pl.probe.spec.Watch == AccessExecute {
				return true
			}
		}
	}
	return false
}

func freeWatch(w *[ptrace.MaxDebug]*placement) int {
	for i, pl := range w {
		if pl == nil {
			return i
		}
	}
	return -1
}

func (s *session) dropWatches(proc *inferior.Process, which []int) error {
	for _, i := range which {
		s.watches[proc][i] = nil
	}
	return s.setAllWatches(proc)
}

func (s *session) removeWatch(pl *placement) error {
	w := s.watches[pl.proc]
	for i := range w {
		if w[i] == pl {
			return s.dropWatches(pl.proc, []int{i})
		}
	}
	return nil
}

// settings are the debug registers that a process's tasks should have.
func (s *session) settings(proc *inferior.Process) (regs [ptrace.MaxDebug]ptrace.Debug, any bool) {
	w := s.watches[proc]
	if w == nil {
		return regs, false
	}
	kinds := [...]ptrace.DebugKind{AccessExecute: ptrace.DebugExecute, AccessWrite: ptrace.DebugWrite, AccessReadWrite: ptrace.DebugReadWrite}
	for i, pl := range w {
		if pl != nil {
			regs[i] = ptrace.Debug{Addr: pl.addr, Len: max(pl.probe.spec.Len, 1), Kind: kinds[pl.probe.spec.Watch]}
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
	w := s.watches[t.Process]
	if w == nil {
		return false, nil
	}
	regs, any := s.settings(t.Process)
	if !any {
		return false, nil
	}
	bits, err := ptrace.DebugHit(t.TID, info, &regs)
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
		if pl != nil && bits>>i&1 != 0 && !t.Process.Silent && !told && !pl.probe.spec.Held {
			s.watchHit(t, pl, &view)
		}
	}
	if ptrace.DebugBefore {
		return true, s.stepWatch(t, &regs)
	}
	return true, s.loop.Resume(t, 0)
}

func (s *session) watchHit(t *inferior.Task, pl *placement, view *arch.Regs) {
	site := breakpoint.Site{Addr: arch.Addr(view[s.isa.PCReg()])}
	code := func() []byte { return t.Process.Space.Table.CodeAt(&site) }
	if pl.exit != nil && !s.leaves(t, pl, code, view) {
		return
	}
	pl.hits.Add(1)
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
