package engine

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Some system calls of a program's are ours to answer, or to get out of the way
// of. They are found by their machine code (number loaded as a constant, then the
// call) in whatever is mapped, libc or not, stripped or not; a site of ours is on
// each.
//
// A program that sets or asks for SIGTRAP's handler must neither lose the guard
// nor see it: calls of rt_sigaction that are about SIGTRAP are answered by us.

// watchedCalls are the system calls that have sites of ours.
var watchedCalls = [...]struct {
	number uint64
	name   string
}{{ptrace.SysRtSigaction, "rt_sigaction"}, {ptrace.SysPtrace, "ptrace"}, {ptrace.SysClone, "clone"},
	{ptrace.WatchedPrctl, "prctl"}, {ptrace.WatchedArchPrctl, "arch_prctl"}}

// onWatchedCall are what is done at them.
func (s *session) onWatchedCall(i int) hookFunc {
	return [len(watchedCalls)]hookFunc{s.onSigaction, s.onPtrace, s.onClone, s.onPrctl, s.onArchPrctl}[i]
}

// hookCalls plants the sites in all objects of a process.
func (s *session) hookCalls(p *inferior.Process) error {
	var errs []error
	for _, m := range p.Modules {
		errs = append(errs, s.hookCallsIn(p, m))
	}
	return errors.Join(errs...)
}

func (s *session) hookCallsIn(p *inferior.Process, m *symbols.Module) error {
	if m.Path == "[vdso]" {
		return nil
	}
	calls, err := s.callsIn(m)
	errs := []error{err}
	for i, found := range calls {
		var spots []spot
		for _, vaddr := range found {
			if !mapped(m, m.Bias+vaddr) {
				continue // the process has not, or not any more, all of the file's code
			}
			spots = append(spots, spot{addr: m.Bias + vaddr, orig: s.fileBytes(m, vaddr), name: moduleName(m) + ":" + watchedCalls[i].name})
		}
		if watchedCalls[i].number == ptrace.SysRtSigaction {
			spots = s.gate(p, m, spots)
		}
		errs = append(errs, s.hook(p, spots, s.onWatchedCall(i)))
	}
	return errors.Join(append(errs, s.hookWrapper(p, m))...)
}

// siteReach is from the load of a call's number to the call's end at most: see
// arch.ISA.SyscallSites.
const siteReach = 256

// callsIn finds the system call instructions behind a load of the number of each
// of the watched calls, once for each file. With an error it is those that were found.
func (s *session) callsIn(m *symbols.Module) ([][]arch.Addr, error) {
	if found, ok := s.calls[m.File]; ok {
		return found, nil
	}
	found := make([][]arch.Addr, len(watchedCalls))
	err := m.File.Code(siteReach, func(at arch.Addr, code []byte) {
		for i, c := range watchedCalls {
			if c.number == ptrace.NoCall || c.number == ptrace.SysClone && hasClone(m) {
				continue
			}
			found[i] = append(found[i], s.isa.SyscallSites(code, at, c.number)...)
		}
	})
	for i, c := range watchedCalls {
		if c.number == ptrace.SysPtrace {
			found[i] = append(found[i], s.goCallsIn(m)...)
		}
		slices.Sort(found[i]) // what lies where two windows meet is found twice
		found[i] = slices.Compact(found[i])
	}
	s.calls[m.File] = found
	return found, err
}

// onSigaction answers an rt_sigaction call on SIGTRAP; others go on.
func (s *session) onSigaction(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	return s.answerSigaction(t, site.End())
}

// answerSigaction answers an rt_sigaction call of a task, which goes on behind it.
func (s *session) answerSigaction(t *inferior.Task, behind arch.Addr) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil {
		return false, err
	}
	args := ptrace.SyscallArgs(r)
	g := &t.Process.Space.Guard
	if ptrace.Signo(args[0]) != ptrace.SIGTRAP || args[3] != 8 || !g.Installed {
		return false, nil
	}
	mem := t.Process.Space.Memory
	old := ownAction(t.Process)
	was, errno := *old, 0
	if args[1] != 0 {
		var act ptrace.SigAction
		if mem.Read(arch.Addr(args[1]), act.Bytes()) != nil {
			errno = efault
		} else {
			*old = act.Kept()
		}
	}
	if errno == 0 && args[2] != 0 && mem.Write(arch.Addr(args[2]), was.Bytes()) != nil {
		errno = efault
	}
	after := *r
	ptrace.SyscallReturn(&after, uint64(-int64(errno)), behind)
	t.SetRegs(&after)
	if t.Process.Old != nil {
		return true, s.loop.Resume(t, 0)
	}
	if err := s.writeOld(t.Process.Space); err != nil {
		return true, err
	}
	return true, s.renewGuard(t)
}

// ownAction is what the program has set for SIGTRAP. A process that runs in
// another's memory has handlers of its own.
func ownAction(p *inferior.Process) *ptrace.SigAction {
	if p.Old != nil {
		return p.Old
	}
	return &p.Space.Guard.Old
}

// renewGuard resumes a task; first it gives our handler the flags and the mask
// of a new one of the program's, if they differ.
func (s *session) renewGuard(t *inferior.Task) error {
	g := &t.Process.Space.Guard
	ours := guardAction(g.Old, t.Process.Space.Table)
	if ours == g.Ours {
		return s.loop.Resume(t, 0)
	}
	g.Ours = ours
	return s.repairGuard(t)
}

const efault = 14
