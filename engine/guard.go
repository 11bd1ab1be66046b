package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// The guard lets a tracee outlive us: a SIGTRAP handler of ours in the tracee
// that goes on through the slots when nobody answers a trap any more. It is
// there before the first trap is. The program's own handler is kept behind it,
// and the program's own rt_sigaction calls on SIGTRAP are answered by us
// (sigaction.go), so that the program does not see ours.

// prepare maps the base area of t's space and installs the guard. t is halted.
func (s *session) prepare(t *inferior.Task, near arch.Addr, sites int) error {
	space := t.Process.Space
	if !space.Table.Prepared() {
		if err := space.Table.Prepare(near, sites); err != nil {
			return err
		}
		// A child's copy, too, must show the room as free again.
		if err := s.remote.ClearScratch(t); err != nil {
			return err
		}
	}
	if t.Process.Guarded {
		return nil
	}
	return s.installGuard(t)
}

func (s *session) installGuard(t *inferior.Task) error {
	g, table := &t.Process.Space.Guard, t.Process.Space.Table
	if err := s.mapGuardPage(t); err != nil {
		return fmt.Errorf("room for the guard: %w", err)
	}
	old, err := s.sigaction(t, nil)
	if err != nil {
		return fmt.Errorf("read SIGTRAP's handler: %w", err)
	}
	if g.Installed {
		t.Process.Old = &old
	} else {
		g.Old = old
		if err := s.writeOld(t.Process.Space); err != nil {
			return err
		}
		g.Ours = guardAction(old, table)
	}
	if _, err := s.sigaction(t, &g.Ours); err != nil {
		return fmt.Errorf("install the guard: %w", err)
	}
	g.Installed, t.Process.Guarded = true, true
	return nil
}

// mapGuardPage maps the guard's page, unless it is there. It is known by its magic word
// before the base area says where it is.
func (s *session) mapGuardPage(t *inferior.Task) error {
	space := t.Process.Space
	if space.Guard.Data != 0 {
		return nil
	}
	at, err := s.remote.MapNear(t, space.Table.GuardHeader(), inferior.PageSize, remote.Anonymous)
	if err != nil {
		return err
	}
	space.Guard.Data = at
	return s.noteGuardPage(space, space.Table.GuardHeader())
}

// noteGuardPage writes the guard's page's magic word, and then where it is.
func (s *session) noteGuardPage(space *inferior.Space, header arch.Addr) error {
	if err := space.PutWord(inferior.PageMagic, guardPageMagic); err != nil {
		return err
	}
	var word [8]byte
	putLe64(word[:], uint64(space.Guard.Data))
	return space.Memory.Write(header+inferior.HeaderPage.At, word[:])
}

// guardAction is our handler with what of the program's own flags and mask
// matters when it is called from ours.
func guardAction(old ptrace.SigAction, table *breakpoint.Table) ptrace.SigAction {
	handler, restorer := table.GuardHandler()
	a := ptrace.SigAction{Handler: uint64(handler), Restorer: uint64(restorer),
		Flags: ptrace.SaSigInfo | ptrace.SaRestorer | ptrace.SaOnStack}
	switch {
	case old.Handler > ptrace.SigIgn:
		const same = ptrace.SaNoDefer | ptrace.SaRestart | ptrace.SaOnStack
		a.Flags = a.Flags&^same | old.Flags&same
		a.Mask = old.Mask
		switch { // the handler returns by the way that the program's own does
		case old.Flags&ptrace.SaRestorer != 0:
			a.Restorer = old.Restorer
		case !ptrace.OnePC: // arm64: by the vdso's code; amd64 has no other way
			a.Flags, a.Restorer = a.Flags&^ptrace.SaRestorer, 0
		}
	case old.Handler == ptrace.SigIgn:
		a.Flags |= ptrace.SaRestart
	}
	return a
}

// writeOld tells the guard in the tracee of the program's own handler.
func (s *session) writeOld(space *inferior.Space) error {
	at := space.Table.GuardHeader()
	old := space.Guard.Old
	var errs []error
	for off, v := range map[arch.Addr]uint64{arch.GuardOld: old.Handler, arch.GuardOldMask: old.Mask,
		arch.GuardOldFlags: old.Flags, inferior.HeaderRestorer.At: old.Restorer, inferior.HeaderPage.At: uint64(space.Guard.Data)} {
		var b [8]byte
		putLe64(b[:], v)
		errs = append(errs, space.Memory.Write(at+off, b[:]))
	}
	return errors.Join(errs...)
}

// swallow tells the guard that debug traps may be ours: of watchpoints, or steps,
// of which one may be in flight when we die. It is told again only where the
// program is to get one of its own.
func (s *session) swallow(space *inferior.Space, steps bool) error {
	g := &space.Guard
	if on := steps || g.Watches; on != g.Swallow && space.Table.Prepared() {
		g.Swallow = on
		var word [8]byte
		if on {
			word[0] = 1
		}
		return space.Memory.Write(space.Table.GuardHeader()+arch.GuardSwallow, word[:])
	}
	return nil
}

// sigaction reads and, with a, replaces SIGTRAP's action in t's process.
func (s *session) sigaction(t *inferior.Task, a *ptrace.SigAction) (old ptrace.SigAction, err error) {
	space := t.Process.Space
	mem, answer := space.Memory, space.InPage(inferior.PageAnswer)
	var at uint64
	if a != nil {
		at = uint64(space.InPage(inferior.PageArgument))
		if err := mem.Write(arch.Addr(at), a.Bytes()); err != nil {
			return old, err
		}
	}
	if _, err := s.remote.Call(t, ptrace.SysRtSigaction, uint64(ptrace.SIGTRAP), at, uint64(answer), 8); err != nil {
		return old, err
	}
	return old, mem.Read(answer, old.Bytes())
}

// A trap in a task that has SIGTRAP blocked makes the kernel unblock it and
// reset its handler (force_sig_info_to_task, kernel/signal.c): both are put
// back. Only the handler tells for certain, and asking costs more than the
// hit; so it is asked only when other synchronous signals are blocked too, as
// they are wherever a libc or the Go runtime blocks all signals, or where the
// program gets SIGTRAPs of its own, whose handler runs with just that blocked.
const (
	bitTrap  = 1 << (5 - 1)
	bitsSync = 1<<(4-1) | 1<<(7-1) | 1<<(8-1) | 1<<(11-1) // ILL, BUS, FPE, SEGV
)

func (s *session) checkBlocked(t *inferior.Task) (blocked bool, err error) {
	mask, err := ptrace.GetSigMask(t.TID)
	if err != nil || mask&bitsSync == 0 && !t.Process.Traps {
		return false, err
	}
	if caught, err := catchesTrap(t.TID); err != nil || caught {
		return false, err
	}
	return true, ptrace.SetSigMask(t.TID, mask|bitTrap)
}

// repairGuard puts our handler in place and resumes the task.
func (s *session) repairGuard(t *inferior.Task) error {
	if err := s.loop.Halt(t); err != nil {
		return err
	}
	_, err := s.sigaction(t, &t.Process.Space.Guard.Ours)
	return errors.Join(err, s.loop.Unhalt(t))
}

// catchesTrap reports whether a task's process has a handler of SIGTRAP.
func catchesTrap(tid int) (bool, error) {
	st, err := procfs.ReadStatus(tid)
	return st.Hex("SigCgt")&bitTrap != 0, err
}
