package remote

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Call has a halted task make one system call. The tracer may die at any moment of
// it: the stub by itself restores the task's registers and goes on where the
// task was, and it is never in memory that the program executes.
func (c *Caller) Call(t *inferior.Task, nr uint64, args ...uint64) (uint64, error) {
	var a [6]uint64
	copy(a[:], args)
	for range 100 { // each signal that comes in between costs a try
		value, again, err := c.tryCall(t, nr, a)
		if err != nil {
			return 0, fmt.Errorf("system call %d in task %d: %w", nr, t.TID, err)
		}
		if again {
			continue
		}
		if errno := -int64(value); errno > 0 && errno < 4096 {
			return 0, &ptrace.Error{Op: fmt.Sprintf("system call %d in", nr), Task: t.TID, Errno: ptrace.Errno(errno)}
		}
		return value, nil
	}
	return 0, fmt.Errorf("system call %d in task %d: signals never cease", nr, t.TID)
}

func (c *Caller) tryCall(t *inferior.Task, nr uint64, args [6]uint64) (value uint64, again bool, err error) {
	if !t.AtEvent() {
		return 0, false, errors.New("task is not halted")
	}
	if err := c.learnRestart(t); err != nil {
		return 0, false, err
	}
	if err := c.suspendFilters(t); err != nil { // before anything is changed
		return 0, false, err
	}
	defer func() { err = errors.Join(err, c.restoreFilters(t)) }()
	saved, err := c.callState(t)
	if err != nil {
		return 0, false, err
	}
	entry, err := c.writeStub(t, &saved, nr, args)
	if err != nil {
		return 0, false, err
	}
	if err := Undispatch(t); err != nil {
		return 0, false, err
	}
	t.SetRegs(&entry)
	for _, want := range []string{"entry", "exit"} {
		if err := c.toSyscallStop(t, &saved.Regs); errors.Is(err, errInterrupted) && want == "entry" {
			return 0, true, nil
		} else if err != nil {
			return 0, false, err
		}
	}
	if err := c.restoreFilters(t); err != nil {
		return 0, false, err
	}
	r, err := t.Regs()
	if err != nil {
		return 0, false, err
	}
	value = c.isa.Result(r)
	return value, false, c.afterCall(t, &saved.Regs)
}

func (c *Caller) callState(t *inferior.Task) (arch.CallState, error) {
	r, err := t.Regs()
	if err != nil {
		return arch.CallState{}, err
	}
	st := arch.CallState{Regs: *r}
	if st.FP, err = ptrace.GetFP(t.TID); err != nil {
		return st, err
	}
	st.SigMask, err = ptrace.GetSigMask(t.TID)
	return st, err
}

// writeStub puts the stub, and a note of what it is for, into the base area, or, before
// there is one, into the unused end of the vdso's last page, which is never executed.
func (c *Caller) writeStub(t *inferior.Task, st *arch.CallState, nr uint64, args [6]uint64) (arch.Regs, error) {
	space := t.Process.Space
	var b arch.Buffer
	var err error
	var at arch.Addr
	if space.Table.Prepared() {
		at, _ = space.Table.Stub()
	} else {
		if space.Scratch == 0 {
			if space.Scratch, err = scratch(t.Process, c.ScratchRoom()); err != nil {
				return arch.Regs{}, err
			}
		}
		at = space.Scratch
	}
	b.Reset(at + noteLen)
	entry, err := c.isa.SyscallCode(&b, st, nr, args)
	if err == nil && noteLen+len(b.Code) > c.ScratchRoom() {
		err = fmt.Errorf("a stub of %d bytes: no room", len(b.Code))
	}
	if err != nil {
		return arch.Regs{}, err
	}
	return entry, c.force(t, at, append(noteOf(nr, args), b.Code...))
}

// ClearScratch puts back the zeros where the first stubs have been.
func (c *Caller) ClearScratch(t *inferior.Task) error {
	space := t.Process.Space
	if space.Scratch == 0 {
		return nil
	}
	return c.force(t, space.Scratch, make([]byte, c.ScratchRoom()))
}

// force writes by /proc/PID/mem, or where the kernel is told to forbid that
// (proc_mem.force_override) by ptrace itself.
func (c *Caller) force(t *inferior.Task, at arch.Addr, code []byte) error {
	return t.Process.Space.Memory.Write(at, code)
}

var errNoScratch = errors.New("no unused executable bytes for a first system call: neither vdso nor program has room")

// scratch finds n executable bytes that hold zeros and that no code uses: the
// end of the vdso, else of another executable mapping's last page.
func scratch(p *inferior.Process, n int) (arch.Addr, error) {
	maps, err := procfs.Maps(p.PID)
	if err != nil {
		return 0, err
	}
	n = (n + 15) &^ 15
	try := func(m procfs.Mapping) (arch.Addr, bool) {
		if breakpoint.SizeAt(p.Space.Memory, m.Start) > 0 {
			return 0, false // ptracer's, and perhaps about to go
		}
		buf := make([]byte, n+32) // some distance from what is used
		at := m.End - arch.Addr(len(buf))
		if p.Space.Memory.Read(at, buf) != nil {
			return 0, false
		}
		for _, c := range buf {
			if c != 0 {
				return 0, false
			}
		}
		return m.End - arch.Addr(n), true
	}
	for _, vdso := range []bool{true, false} {
		for _, m := range maps {
			if m.Executable() && (m.Path == "[vdso]") == vdso && m.Path != "[vsyscall]" {
				if at, ok := try(m); ok {
					return at, nil
				}
			}
		}
	}
	return 0, errNoScratch
}

var errInterrupted = errors.New("interrupted by a signal")

// toSyscallStop runs a task in its stub up to the next entry or exit. A signal
// that comes first is delivered to the program as it was, and the call is to
// be tried again.
func (c *Caller) toSyscallStop(t *inferior.Task, saved *arch.Regs) error {
	for {
		if err := t.Flush(); err != nil {
			return err
		}
		if err := ptrace.Syscall(t.TID, 0); err != nil {
			return err
		}
		stop, err := c.loop.Next(t)
		if err != nil {
			return err
		}
		switch stop.Kind {
		case ptrace.SyscallStop:
			return Redispatch(t)
		case ptrace.Exited, ptrace.Killed:
			_ = c.loop.Decide(t, stop)
			return ptrace.ErrGone
		case ptrace.Signal:
			t.SetRegs(saved)
			t.Asked = true
			err := c.restoreFilters(t)
			if err = errors.Join(err, Redispatch(t)); err != nil {
				return err
			}
			why, goOn := errInterrupted, func() error { return c.loop.Decide(t, stop) }
			if isDispatched(t, stop) { // nothing of the program's
				why, goOn = ErrDispatch, func() error { return c.loop.Resume(t, 0) }
			}
			if err := goOn(); err != nil {
				return err
			}
			if err := c.loop.ToEventStop(t); err != nil {
				return err
			}
			return why
		}
	}
}

// learnRestart settles how a task that was stopped inside a system call goes on
// with it. On amd64 the registers tell. On arm64 the kernel has put the PC back
// on the svc before the tracer sees the stop, and whether it would have made the call
// anew or restart_syscall (which knows how much of a sleep is left) is seen only
// at the entry: so the task is let go up to there, and stopped once more.
func (c *Caller) learnRestart(t *inferior.Task) error {
	if c.isa.MinInst() == 1 || t.Settled {
		return nil
	}
	for range 100 {
		r, err := t.Regs()
		if err != nil {
			return err
		}
		pc := arch.Addr(r[c.isa.PCReg()])
		code := make([]byte, c.isa.MinInst())
		if t.Process.Space.Memory.Read(pc, code) != nil {
			return nil
		}
		if inst, err := c.isa.Decode(code, pc); err != nil || inst.Kind != arch.KindSyscall {
			return nil
		}
		before := *r
		if err := c.toSyscallStop(t, &before); errors.Is(err, errInterrupted) {
			continue
		} else if err != nil {
			return err
		}
		entry, err := t.Regs()
		if err != nil {
			return err
		}
		nr := entry[ptrace.SyscallWord]
		if err := c.loop.ToEventStop(t); err != nil {
			return err
		}
		after, err := t.Regs()
		if err != nil {
			return err
		}
		if arch.Addr(after[c.isa.PCReg()]) == pc {
			again := *after
			again[ptrace.SyscallWord] = nr
			t.SetRegs(&again)
			t.Settled = true
			return t.Flush()
		}
	}
	return nil
}

// afterCall gives a task that stands at the exit of such a call its registers
// back. The detour over an event stop lets the kernel finish what it was doing
// for the program, the restart of an interrupted system call above all.
func (c *Caller) afterCall(t *inferior.Task, saved *arch.Regs) error {
	restarted := c.isa.Restarted(saved)
	t.SetRegs(&restarted)
	if err := c.loop.ToEventStop(t); err != nil {
		return err
	}
	t.SetRegs(saved)
	return t.Flush()
}
