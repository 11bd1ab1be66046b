package life

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// hasClone is whether an object is, or contains, a libc or Go's runtime. Their
// clones are traced, and are made while signals are blocked, where a trap of ours
// is not survived if we die.
func hasClone(m *symbols.Module) bool {
	fns, err := m.File.Lookup("clone")
	return m.File.IsGo() || err == nil && len(fns) > 0
}

// Some system calls of a program's are ours to answer, or to get out of the way
// of. They are found by their machine code (number loaded as a constant, then the
// call) in whatever is mapped, libc or not, stripped or not; a site of ours is on
// each.
//
// A program that sets or asks for SIGTRAP's handler must neither lose the guard
// nor see it: calls of rt_sigaction that are about SIGTRAP are answered by us.

type watchedCall struct {
	number uint64
	name   string
}

// watchedCalls are the system calls that have sites of ours.
var watchedCalls = [...]watchedCall{{ptrace.SysRtSigaction, "rt_sigaction"}, {ptrace.SysPtrace, "ptrace"}, {ptrace.SysClone, "clone"},
	{ptrace.WatchedPrctl, "prctl"}, {ptrace.WatchedArchPrctl, "arch_prctl"}}

// HookCalls plants the sites in all objects of a process.
func (x *Life) HookCalls(p *inferior.Process) error {
	var errs []error
	for _, m := range p.Modules {
		errs = append(errs, x.hookCallsIn(p, m))
	}
	return errors.Join(errs...)
}

func (x *Life) hookCallsIn(p *inferior.Process, m *symbols.Module) error {
	if m.Path == "[vdso]" {
		return nil
	}
	calls, err := x.callsIn(m)
	errs := []error{err}
	for i, found := range calls {
		var spots []probe.Target
		for _, vaddr := range found {
			if !m.Mapped(m.Bias + vaddr) {
				continue // the process has not, or not any more, all of the file's code
			}
			spots = append(spots, probe.At(m.Bias+vaddr, inferior.Bytes(x.isa, m, vaddr), m.Base()+":"+watchedCalls[i].name))
		}
		if watchedCalls[i].number == ptrace.SysRtSigaction {
			spots = x.hook.Gate(p, m, spots, x.hooks[i])
		}
		errs = append(errs, x.hook.Hook(p, spots, x.hooks[i]))
	}
	return errors.Join(append(errs, x.hook.HookWrapper(p, m))...)
}

// siteReach is from the load of a call's number to the call's end at most: see
// arch.ISA.SyscallSites.
const siteReach = 256

// callsIn finds the system call instructions behind a load of the number of each
// of the watched calls, once for each file. With an error it is those that were found.
func (x *Life) callsIn(m *symbols.Module) ([][]arch.Addr, error) {
	if found, ok := x.calls[m.File]; ok {
		return found, nil
	}
	found := make([][]arch.Addr, len(watchedCalls))
	err := m.File.Code(siteReach, func(at arch.Addr, code []byte) {
		for i, c := range watchedCalls {
			if c.number == ptrace.NoCall || c.number == ptrace.SysClone && hasClone(m) {
				continue
			}
			found[i] = append(found[i], x.isa.SyscallSites(code, at, c.number)...)
		}
	})
	for i, c := range watchedCalls {
		if c.number == ptrace.SysPtrace {
			found[i] = append(found[i], x.goCallsIn(m)...)
		}
		slices.Sort(found[i]) // what lies where two windows meet is found twice
		found[i] = slices.Compact(found[i])
	}
	x.calls[m.File] = found
	return found, err
}

// onSigaction answers an rt_sigaction call on SIGTRAP; others go on.
func (x *Life) onSigaction(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	return x.guard.Answer(t, site.End())
}
