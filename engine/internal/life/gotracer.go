package life

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/symbols"
)

// Tracers written in Go make the ptrace call by the one instruction that all calls of
// package syscall are made by. Each of a program's calls stops there, so only programs
// that contain code for tracing have a site on it: debuggers, and ptracer itself.

// goTraces are functions of which a Go program that traces has one.
var goTraces = []string{"syscall.ptrace", "syscall.ptracePtr", "golang.org/x/sys/unix.ptrace", "golang.org/x/sys/unix.ptracePtr",
	"github.com/ptracer/ptracer/engine/internal/ptrace.Seize"}

// goCallers are the functions with that instruction, by their names in Go's versions. Where
// their arguments are on the stack (arm64), the name ends in ".abi0".
var goCallers = []string{"internal/runtime/syscall/linux.Syscall6", "internal/runtime/syscall.Syscall6", "runtime/internal/syscall.Syscall6",
	"internal/runtime/syscall/linux.Syscall6.abi0", "internal/runtime/syscall.Syscall6.abi0", "runtime/internal/syscall.Syscall6.abi0"}

// goCallsIn are the instructions by which a Go program that traces makes its calls.
func (x *Life) goCallsIn(m *symbols.Module) (at []arch.Addr) {
	has := func(name string) bool {
		fns, err := m.File.Lookup(name)
		return err == nil && len(fns) > 0
	}
	if !m.File.IsGo() || !slices.ContainsFunc(goTraces, has) {
		return nil
	}
	for _, name := range goCallers {
		fns, _ := m.File.Lookup(name)
		for _, fn := range fns {
			starts, _ := m.File.Instructions(x.isa, fn)
			for _, start := range starts {
				code := make([]byte, min(uint64(x.isa.MaxInst()), uint64(fn.Addr)+fn.Size-uint64(start)))
				if m.File.Text(start, code) != nil {
					continue
				}
				if inst, err := x.isa.Decode(code, start); err == nil && inst.Kind == arch.KindSyscall {
					at = append(at, start)
				}
			}
		}
	}
	return at
}

// HookGoTracer has a Go program's calls watched though no probe of a tracer's is in it: in
// those that it traces there may be. Others have a site in their loader, and so the guard
// and the watched calls.
func (x *Life) HookGoTracer(p *inferior.Process) {
	if !p.Follow || p.Space.Guard.Installed {
		return
	}
	for _, m := range p.Modules {
		at := x.goCallsIn(m)
		if len(at) == 0 {
			continue
		}
		if err := x.hook.GuardSpace(p, m.Bias+at[0], len(at)); err != nil && !ptrace.IsGone(err) && !errors.Is(err, remote.ErrSeccomp) {
			x.loop.Warn(p, "processes that it traces will not be let go for it: %v", err)
		}
		return
	}
}
