package guard

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Answer answers an rt_sigaction call of a task, which goes on behind it.
func (g *Guard) Answer(t *inferior.Task, behind arch.Addr) (moved bool, err error) {
	r, err := t.Regs()
	if err != nil {
		return false, err
	}
	args := ptrace.SyscallArgs(r)
	st := &t.Process.Space.Guard
	if ptrace.Signo(args[0]) != ptrace.SIGTRAP || args[3] != 8 || !st.Installed {
		return false, nil
	}
	mem := t.Process.Space.Memory
	old := OwnAction(t.Process)
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
		return true, g.loop.Resume(t, 0)
	}
	if err := g.WriteOld(t.Process.Space); err != nil {
		return true, err
	}
	return true, g.renew(t)
}

// OwnAction is what the program has set for SIGTRAP. A process that runs in
// another's memory has handlers of its own.
func OwnAction(p *inferior.Process) *ptrace.SigAction {
	if p.Old != nil {
		return p.Old
	}
	return &p.Space.Guard.Old
}

// renew resumes a task; first it gives the guard the flags and the mask
// of a new one of the program's, if they differ.
func (g *Guard) renew(t *inferior.Task) error {
	st := &t.Process.Space.Guard
	action := Action(st.Old, t.Process.Space.Table)
	if action == st.Ours {
		return g.loop.Resume(t, 0)
	}
	st.Ours = action
	return g.Repair(t)
}

const efault = 14
