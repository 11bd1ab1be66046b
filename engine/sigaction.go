package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// A program that sets or asks for SIGTRAP's handler must neither lose the guard
// nor see it. Its rt_sigaction system calls are found by their machine code
// (number loaded as a constant, then the call) in whatever is mapped, libc or
// not, stripped or not; a site of ours on each answers calls that are about
// SIGTRAP and lets the others through.

// hookSigaction plants the sites in all objects of a process.
func (s *session) hookSigaction(p *inferior.Process) error {
	var errs []error
	for _, m := range p.Modules {
		errs = append(errs, s.hookSigactionIn(p, m))
	}
	return errors.Join(errs...)
}

func (s *session) hookSigactionIn(p *inferior.Process, m *symbols.Module) error {
	if m.Path == "[vdso]" {
		return nil
	}
	var spots []spot
	for _, vaddr := range s.sigactionCalls(m) {
		spots = append(spots, spot{addr: m.Bias + vaddr, orig: s.fileBytes(m, vaddr), name: moduleName(m) + ":rt_sigaction"})
	}
	return s.hook(p, spots, s.onSigaction)
}

// sigactionCalls finds the system call instructions behind a load of
// rt_sigaction's number, once for each file.
func (s *session) sigactionCalls(m *symbols.Module) []arch.Addr {
	if found, ok := s.calls[m.File]; ok {
		return found
	}
	var found []arch.Addr
	for _, r := range m.Ranges {
		code := make([]byte, r.End-r.Start)
		base := r.Start - m.Bias
		if m.File.Text(base, code) != nil {
			code = s.textTail(m, base, code)
		}
		found = append(found, s.isa.SyscallSites(code, base, ptrace.SysRtSigaction)...)
	}
	s.calls[m.File] = found
	return found
}

// textTail reads as much of a mapping as the file has: its last page may go on
// behind the segment.
func (s *session) textTail(m *symbols.Module, base arch.Addr, code []byte) []byte {
	for n := len(code) &^ (pageSize - 1); n >= 0; n -= pageSize {
		for end := min(n+pageSize, len(code)); end > n; end-- {
			if m.File.Text(base+arch.Addr(n), code[n:end]) == nil && m.File.Text(base, code[:end]) == nil {
				return code[:end]
			}
		}
	}
	return nil
}

// onSigaction answers an rt_sigaction call on SIGTRAP; others go on.
func (s *session) onSigaction(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
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
			*old = act
		}
	}
	if errno == 0 && args[2] != 0 && mem.Write(arch.Addr(args[2]), was.Bytes()) != nil {
		errno = efault
	}
	after := *r
	ptrace.SyscallReturn(&after, uint64(-int64(errno)), site.End())
	t.SetRegs(&after)
	if t.Process.Old != nil {
		return true, s.resume(t, 0)
	}
	return true, errors.Join(s.writeOld(t.Process.Space), s.renewGuard(t))
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
	ours := guardAction(g.Old, arch.Addr(g.Ours.Handler), arch.Addr(g.Ours.Restorer))
	if ours == g.Ours {
		return s.resume(t, 0)
	}
	g.Ours = ours
	return s.repairGuard(t)
}

const efault = 14
