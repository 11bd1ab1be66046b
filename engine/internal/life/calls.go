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

// hasClone reports whether an object is or contains a libc or Go's runtime. The tasks that these
// clone are traced, and they clone while signals are blocked, where a trap would kill the program
// if the tracer dies.
func hasClone(m *symbols.Module) bool {
	fns, err := m.File.Lookup("clone")
	return m.File.IsGo() || err == nil && len(fns) > 0
}

// Hooks at system calls. Some calls of a program are answered by the tracer, or seen before they
// are made. They are found by their machine code (the number is loaded as a constant, and the call
// follows) in all objects, stripped or not. A program that asks for or sets the handler of SIGTRAP
// must neither see the guard nor lose it: the tracer answers calls of rt_sigaction about SIGTRAP.

// watchedCall is a system call that has hooks, with its number and name.
type watchedCall struct {
	number uint64
	name   string
}

// watchedCalls are the system calls that have hooks. New sets what runs at each.
var watchedCalls = [...]watchedCall{{ptrace.SysRtSigaction, "rt_sigaction"}, {ptrace.SysPtrace, "ptrace"}, {ptrace.SysClone, "clone"},
	{ptrace.WatchedPrctl, "prctl"}, {ptrace.WatchedArchPrctl, "arch_prctl"}}

// HookCalls plants these hooks in all objects of a process.
func (x *Life) HookCalls(p *inferior.Process) error {
	var errs []error
	for _, m := range p.Modules {
		errs = append(errs, x.hookCallsIn(p, m))
	}
	return errors.Join(errs...)
}

// hookCallsIn plants them in one object.
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
				continue // the process has not mapped this part of the file's code
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

// siteReach is how many bytes lie at most between the start of the load of a call's number and the
// call's end: see arch.ISA.SyscallSites.
const siteReach = 256

// callsIn returns the instructions of each watched call in an object. Each file is searched once.
// With an error it returns those that were found before.
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
		slices.Sort(found[i]) // calls where two windows meet are found twice
		found[i] = slices.Compact(found[i])
	}
	x.calls[m.File] = found
	return found, err
}

// onSigaction is the hook at calls of rt_sigaction. It answers those about SIGTRAP and lets others
// go on.
func (x *Life) onSigaction(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	return x.guard.Answer(t, site.End())
}
