package guard

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
)

// The guard is a SIGTRAP handler of ptracer's in the program, that goes on through the slots
// where no tracer answers a trap any more. It is there before the first trap is. The program's
// own handler is kept behind it, and the program's own rt_sigaction calls on SIGTRAP are answered
// by the tracer (Answer), so that the program does not see the guard.

// Prepare maps the base area of t's space and installs the guard. t is halted.
func (g *Guard) Prepare(t *inferior.Task, near arch.Addr, sites int) error {
	space := t.Process.Space
	if !space.Table.Prepared() {
		if err := space.Table.Prepare(near, sites); err != nil {
			return err
		}
		// A child's copy, too, must show the room as free again.
		if err := g.remote.ClearScratch(t); err != nil {
			return err
		}
	}
	if t.Process.Guarded {
		return nil
	}
	return g.install(t)
}

func (g *Guard) install(t *inferior.Task) error {
	st, table := &t.Process.Space.Guard, t.Process.Space.Table
	if err := g.mapPage(t); err != nil {
		return fmt.Errorf("room for the guard: %w", err)
	}
	old, err := g.Sigaction(t, nil)
	if err != nil {
		return fmt.Errorf("read SIGTRAP's handler: %w", err)
	}
	if st.Installed {
		t.Process.Old = &old
	} else {
		st.Old = old
		if err := g.WriteOld(t.Process.Space); err != nil {
			return err
		}
		st.Ours = Action(old, table)
	}
	if _, err := g.Sigaction(t, &st.Ours); err != nil {
		return fmt.Errorf("install the guard: %w", err)
	}
	st.Installed, t.Process.Guarded = true, true
	return nil
}

// mapPage maps the guard's page, unless it is there. It is known by its magic word
// before the base area says where it is.
func (g *Guard) mapPage(t *inferior.Task) error {
	space := t.Process.Space
	if space.Guard.Data != 0 {
		return nil
	}
	at, err := g.remote.MapNear(t, space.Table.GuardHeader(), inferior.PageSize, remote.Anonymous)
	if err != nil {
		return err
	}
	space.Guard.Data = at
	return g.NotePage(space, space.Table.GuardHeader())
}

// NotePage writes the guard's page's magic word, and then where it is.
func (g *Guard) NotePage(space *inferior.Space, header arch.Addr) error {
	if err := space.PutWord(inferior.PageMagic, pageMagic); err != nil {
		return err
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], uint64(space.Guard.Data))
	return space.Memory.Write(header+inferior.HeaderPage.At, word[:])
}

// Action is the guard's, with what of the program's own flags and mask matters where the
// guard calls the program's handler.
func Action(old ptrace.SigAction, table *breakpoint.Table) ptrace.SigAction {
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

// WriteOld tells the guard in the tracee of the program's own handler.
func (g *Guard) WriteOld(space *inferior.Space) error {
	at := space.Table.GuardHeader()
	old := space.Guard.Old
	var errs []error
	for off, v := range map[arch.Addr]uint64{arch.GuardOld: old.Handler, arch.GuardOldMask: old.Mask,
		arch.GuardOldFlags: old.Flags, inferior.HeaderRestorer.At: old.Restorer, inferior.HeaderPage.At: uint64(space.Guard.Data)} {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		errs = append(errs, space.Memory.Write(at+off, b[:]))
	}
	return errors.Join(errs...)
}

// Swallow tells the guard that debug traps may be ptracer's: of watchpoints, or steps,
// of which one may be in flight when the tracer dies. It is told again only where the
// program is to get one of its own.
func (g *Guard) Swallow(space *inferior.Space, steps bool) error {
	st := &space.Guard
	if on := steps || st.Watches; on != st.Swallow && space.Table.Prepared() {
		st.Swallow = on
		var word [8]byte
		if on {
			word[0] = 1
		}
		return space.Memory.Write(space.Table.GuardHeader()+arch.GuardSwallow, word[:])
	}
	return nil
}

// Sigaction reads and, with a, replaces SIGTRAP's action in t's process.
func (g *Guard) Sigaction(t *inferior.Task, a *ptrace.SigAction) (old ptrace.SigAction, err error) {
	space := t.Process.Space
	mem, answer := space.Memory, space.InPage(inferior.PageAnswer)
	var at uint64
	if a != nil {
		at = uint64(space.InPage(inferior.PageArgument))
		if err := mem.Write(arch.Addr(at), a.Bytes()); err != nil {
			return old, err
		}
	}
	if _, err := g.remote.Call(t, ptrace.SysRtSigaction, uint64(ptrace.SIGTRAP), at, uint64(answer), 8); err != nil {
		return old, err
	}
	return old, mem.Read(answer, old.Bytes())
}

// Remove gives the program its own SIGTRAP handler back.
func (g *Guard) Remove(t *inferior.Task) error {
	st := &t.Process.Space.Guard
	if !st.Installed {
		return nil
	}
	if err := g.mapPage(t); err != nil {
		return err
	}
	now, err := g.Sigaction(t, nil)
	if err != nil || now.Handler != st.Ours.Handler && !isReset(&now, &st.Ours) {
		return err
	}
	_, err = g.Sigaction(t, OwnAction(t.Process))
	return err
}

// isReset reports whether an action is the guard's without its handler: the kernel has taken
// that for a trap that a task met with SIGTRAP blocked, and left the rest
// (force_sig_info_to_task, kernel/signal.c). A program that asks for the default has other
// flags, or none.
func isReset(now, guard *ptrace.SigAction) bool {
	was := *now
	was.Handler = guard.Handler
	return now.Handler == ptrace.SigDfl && was == *guard
}

// Recover reads what is known of a dead tracer's guard. Whether it is installed the
// process tells. Its page may have been given back.
func (g *Guard) Recover(p *inferior.Process, table *breakpoint.Table) error {
	if table.GuardHeader() == 0 {
		return nil
	}
	var b [arch.GuardSize]byte
	if err := p.Space.Memory.Read(table.GuardHeader(), b[:]); err != nil {
		return err
	}
	st := &p.Space.Guard
	handler, _ := table.GuardHandler()
	st.Ours = ptrace.SigAction{Handler: uint64(handler)}
	st.Old.Handler, st.Old.Mask, st.Old.Flags = binary.LittleEndian.Uint64(b[arch.GuardOld:]), binary.LittleEndian.Uint64(b[arch.GuardOldMask:]), binary.LittleEndian.Uint64(b[arch.GuardOldFlags:])
	st.Old.Restorer = binary.LittleEndian.Uint64(b[inferior.HeaderRestorer.At:])
	if data := arch.Addr(binary.LittleEndian.Uint64(b[inferior.HeaderPage.At:])); IsPage(p.Space.Memory, data) {
		st.Data = data
	}
	st.Swallow = binary.LittleEndian.Uint64(b[arch.GuardSwallow:]) != 0
	caught, err := CatchesTrap(p.PID)
	st.Installed = caught
	return err
}

// Again installs the guard for the time in which resident probes are taken
// away: tasks are stepped out of the code behind jumps then. That is done by a
// task that is not there.
func (g *Guard) Again(p *inferior.Process, table *breakpoint.Table) error {
	space := p.Space
	for range 1000 {
		for _, t := range p.Tasks {
			if err := g.loop.Halt(t); err != nil {
				continue
			}
			pc, err := t.PC()
			if err != nil || table.InArea(pc) {
				err = errors.Join(err, g.loop.Unhalt(t))
				if err != nil && !ptrace.IsGone(err) {
					return err
				}
				continue
			}
			space.Table = table
			now, err := g.Sigaction(t, nil)
			if space.Guard.Installed = err == nil && now.Handler == space.Guard.Ours.Handler; err == nil && !space.Guard.Installed {
				err = g.install(t)
			}
			return errors.Join(err, g.loop.Unhalt(t))
		}
	}
	space.Table, space.Guard.Installed = table, false
	return nil // it is there for the case that the tracer dies
}

// InheritAction gives a forked child, which has not run yet, its own action: in the copy
// of its parent's guard, too.
func (g *Guard) InheritAction(p *inferior.Process, own ptrace.SigAction) error {
	space, st := p.Space, &p.Space.Guard
	if was := st.Old; !st.Installed || own == was {
		return nil
	}
	st.Old = own
	st.Ours = Action(own, space.Table)
	p.Reguard = true
	return g.WriteOld(space)
}

// Reguard puts the guard into a child in its first stop: it has not run yet.
func (g *Guard) Reguard(t *inferior.Task) error {
	p := t.Process
	again := p.Reguard && p.Guarded
	if p.Reguard = false; !again {
		return nil
	}
	t.Hold++
	p.Guarded = false
	_, err := g.Sigaction(t, &p.Space.Guard.Ours)
	if t.Hold--; err == nil {
		p.Guarded = true
	}
	return err
}
