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

// Tracers that are written in Go. They call ptrace by the one instruction that makes all calls of
// package syscall. A hook there stops each of these calls, so only programs that contain code for
// tracing have one: debuggers, and ptracer itself.

// goTraces are functions of which a Go program that traces has at least one.
var goTraces = []string{"syscall.ptrace", "syscall.ptracePtr", "golang.org/x/sys/unix.ptrace", "golang.org/x/sys/unix.ptracePtr",
	"github.com/ptracer/ptracer/engine/internal/ptrace.Seize"}

// goCallers are the functions with that instruction, by their names in the versions of Go. If their
// arguments are on the stack (arm64), the name ends in ".abi0".
var goCallers = []string{"internal/runtime/syscall/linux.Syscall6", "internal/runtime/syscall.Syscall6", "runtime/internal/syscall.Syscall6",
	"internal/runtime/syscall/linux.Syscall6.abi0", "internal/runtime/syscall.Syscall6.abi0", "runtime/internal/syscall.Syscall6.abi0"}

// goCallsIn returns the instructions by which a Go program that traces makes its calls.
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

// HookGoTracer puts the guard, and with it the hooks, into a Go program that traces although no
// probe is in it: the programs that it traces may have probes. Programs with a dynamic loader have
// a hook in the loader, and so have them already.
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
