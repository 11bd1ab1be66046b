package engine

import (
	"errors"
	"os"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

func (s *session) addProcess(pid int, space *inferior.Space) *inferior.Process {
	return s.loop.AddProcess(pid, procfs.Comm(pid), space, s.follow)
}

// onTrap is the stop that an Interrupt asked for, or a new task's first.
func (s *session) onTrap(t *inferior.Task) error {
	if t.Fresh {
		t.Asked = false
		return s.onFirstStop(t)
	}
	if err := t.Restart(); err != nil {
		return err
	}
	if t.Held() && s.hit.TrapPending(t) {
		// Not interrupted again: that would come before the trap once more.
		// The signal's stop does it.
		t.Asked = true
		return s.loop.LetGo(t, 0)
	}
	t.Asked = false
	if done, err := s.hit.OutOfRun(t); done || err != nil {
		return err
	}
	return s.loop.Resume(t, 0)
}

// onGroup leaves a job-control stop in force: the task listens for its end.
func (s *session) onGroup(t *inferior.Task) error {
	if t.Held() && !t.Fresh && s.hit.TrapPending(t) {
		t.Asked = true // it comes back to a group stop behind its trap
		return s.loop.LetGo(t, 0)
	}
	t.Asked = false
	if t.Fresh {
		return s.onFirstStop(t)
	}
	if t.Held() { // others listen, and get out when they go on
		if done, err := s.hit.OutOfRun(t); done || err != nil {
			return err
		}
	}
	return s.loop.Resume(t, 0)
}

func (s *session) onFirstStop(t *inferior.Task) error {
	t.Fresh = false
	p := t.Process
	_ = ptrace.SetOptions(t.TID, t.Options()) // it has those of the task that made it
	if err := s.guard.Reguard(t); err != nil {
		if ptrace.IsGone(err) {
			return err
		}
		s.warn(p, "child %d: the guard: %v", p.PID, err)
	}
	if p.Stale {
		return s.onStale(t)
	}
	if p.Leaving && len(p.Tasks) == 1 {
		return s.release(p)
	}
	t.Hold++ // until it has what it is to have
	if err := s.plant.Strip(p); err != nil && !ptrace.IsGone(err) {
		s.warn(p, "child %d: %v", p.PID, err)
	}
	if t.Hold--; t.State == inferior.Gone {
		return nil
	}
	if err := s.inproc.NoteThread(t); err != nil && !ptrace.IsGone(err) {
		s.warn(p, "task %d: its ids: %v", t.TID, err)
	}
	if err := s.watch.Set(t); err != nil {
		s.warn(p, "task %d: hardware probes: %v", t.TID, err)
	}
	if err := s.jump.WatchLines(t); err != nil && !ptrace.IsGone(err) {
		s.warn(p, "task %d: the place of its counts: %v", t.TID, err)
	}
	return s.loop.ResumeStopped(t)
}

// onNewTask takes a new thread or process into the session, under whatever
// name the kernel reported it.
func (s *session) onNewTask(t *inferior.Task, kind ptrace.Kind) error {
	child, err := ptrace.EventMessage(t.TID, kind)
	if err != nil {
		return err
	}
	parent := t.Process
	t.VForks = kind == ptrace.VFork
	flags, err := cloneFlags(t, kind)
	if err != nil && procfs.Group(child) == parent.PID { // killed meanwhile
		flags = cloneThread | cloneVM
	}
	switch {
	case flags&cloneThread != 0:
		s.loop.TakeEarly(s.loop.Add(parent, child, true))
		s.lifeEvent(&event.Event{Kind: event.Clone, PID: parent.PID, TID: t.TID, Child: child}, parent)
	case flags&cloneVM != 0:
		p := s.addProcess(child, parent.Space)
		s.descend(p, parent)
		p.VFork, p.Silent, p.Name, p.Guarded = parent, parent.Silent || !parent.Follow, parent.Name, parent.Guarded
		if flags&cloneSighand == 0 {
			own := actionOf(parent, flags)
			p.Old, p.Reguard = &own, flags&cloneCleared != 0
		} else {
			p.Old = parent.Old // it has its parent's handlers, also those that come
		}
		s.lifeEvent(&event.Event{Kind: event.Fork, PID: parent.PID, TID: t.TID, Child: child}, p)
		s.loop.TakeEarly(s.loop.Add(p, child, true))
	default:
		if err := s.onFork(t, child, flags); err != nil {
			s.warn(parent, "child %d: %v", child, err)
		}
	}
	if flags&cloneVM != 0 && flags&(cloneVFork|cloneSetTLS) == 0 { // it has its parent's pointer
		err := s.inproc.NoteAlike(t)
		if err = errors.Join(err, s.jump.LeaveLines(parent)); err != nil {
			s.warn(parent, "the place of its counts: %v", err)
		}
	}
	return s.loop.ResumeStopped(t)
}

// Flags of clone(2), from sched.h.
const (
	cloneVM      = 0x100
	cloneSighand = 0x800
	cloneVFork   = 0x4000
	cloneThread  = 0x10000
	cloneSetTLS  = 0x80000
	cloneCleared = 0x100000000 // CLONE_CLEAR_SIGHAND, of clone3
)

// cloneFlags reads from the parent's system call what the new task shares with
// it. The kernel's event does not tell, and the child may have died already. The error
// is of a parent that was killed meanwhile.
func cloneFlags(t *inferior.Task, kind ptrace.Kind) (uint64, error) {
	r, err := t.Regs()
	if err != nil {
		return 0, err
	}
	nr, arg := ptrace.SyscallOf(r)
	switch nr {
	case ptrace.SysClone3:
		var b [8]byte
		err := t.Process.Space.Memory.Read(arch.Addr(arg), b[:])
		return le64(b[:]), err
	case ptrace.SysClone:
		return arg, nil
	}
	if kind == ptrace.VFork {
		return cloneVM | cloneVFork, nil
	}
	return 0, nil
}

// onExec gives a process its new program: a new space, and of its tasks only
// the leader, whichever of them made the call.
func (s *session) onExec(t *inferior.Task) error {
	p := t.Process
	for tid, other := range p.Tasks {
		if other != t {
			s.forgetTask(other)
			delete(s.loop.Tasks, tid)
		}
	}
	t.Fresh = false
	ignored := p.Space.Guard.Installed && guard.OwnAction(p).Handler == ptrace.SigIgn
	s.leaveSpace(p)
	s.uprobe.Wait() // the old uprobes are of this process: a hit would count twice
	mem, err := ptrace.OpenMemory(p.PID)
	if err != nil {
		return err
	}
	p.VFork, p.Old, p.Traps, p.Guarded, p.Name = nil, nil, false, false, procfs.Comm(p.PID)
	s.newSpace(p, mem)
	path, _ := os.Readlink(procfs.Path(p.PID, "exe"))
	if p.Silent || p.Leaving {
		if ignored {
			err = s.reignore(t)
		}
		return errors.Join(err, s.release(p))
	}
	s.lifeEvent(&event.Event{Kind: event.Exec, PID: p.PID, TID: t.TID, Path: path}, p)
	t.Hold++
	if ignored {
		err = s.reignore(t)
	}
	s.plant.Beginning = true
	s.rescan(p)
	s.plant.Beginning = false
	t.Hold--
	if t.State == inferior.Gone {
		return err
	}
	if err2 := s.loop.Resume(t, 0); err == nil {
		err = err2
	}
	return err
}

// reignore gives the new program the ignored SIGTRAP it would have inherited
// had our handler not stood in its place.
func (s *session) reignore(t *inferior.Task) error {
	if err := s.loop.ToEventStop(t); err != nil {
		return err
	}
	data, err := s.remote.Call(t, ptrace.SysMmap, 0, inferior.PageSize, ptrace.ProtRW, ptrace.MapPrivateAnon, ^uint64(0), 0)
	if err != nil {
		return err
	}
	space := t.Process.Space
	space.Guard.Data = arch.Addr(data)
	_, err = s.guard.Sigaction(t, &ptrace.SigAction{Handler: ptrace.SigIgn})
	space.Guard.Data = 0
	_, err2 := s.remote.Call(t, ptrace.SysMunmap, data, inferior.PageSize)
	return errors.Join(err, err2, s.remote.ClearScratch(t))
}

func (s *session) newSpace(p *inferior.Process, mem *ptrace.Memory) {
	mem.Note = &s.guard.Written
	space := &inferior.Space{Memory: mem, Users: 1}
	space.Table = newTable(s.isa, mem, s.remote.Room(space))
	p.Space, p.Allowed = space, nil
	clear(p.Modules)
}

// leaveSpace lets a process go of its space; the last one closes it.
func (s *session) leaveSpace(p *inferior.Process) {
	s.remember(p)
	s.plant.DropPlacements(p, s.lent[p.PID])
	s.hook.ForgetGates(p)
	s.jump.ForgetSites(p)
	if p.Space.Users--; p.Space.Users == 0 {
		s.inproc.Gone(p.Space)
		_ = p.Space.Memory.Close()
		p.Space.Table = newTable(s.isa, p.Space.Memory, s.remote.Room(p.Space)) // placements keep the process
	}
}

// onEnd is a task's end; the last task's is the process's.
func (s *session) onEnd(t *inferior.Task, stop ptrace.Stop) error {
	p := t.Process
	if t.TID == p.PID || p.Exit == nil {
		p.Exit = &stop // the leader's is the process's, and comes last
	}
	s.forgetTask(t)
	if len(p.Tasks) == 0 {
		s.endProcess(p)
	}
	return nil
}

func (s *session) forgetTask(t *inferior.Task) {
	s.loop.Forget(t)
	_ = s.guard.Forget(t) // whose memory may be gone, too
	space := t.Process.Space
	space.Skips = slices.DeleteFunc(space.Skips, func(k inferior.Skip) bool { return k.TID == t.TID })
}

func (s *session) endProcess(p *inferior.Process) {
	s.leaveSpace(p)
	delete(s.loop.Procs, p.PID)
	s.exited(p.PID, p.Exit, s.tells && !p.Silent)
}

// exited notes how a process has ended, if that is known.
func (s *session) exited(pid int, how *ptrace.Stop, tell bool) {
	e := event.Event{Kind: event.Exit, PID: pid, TID: pid}
	if how != nil {
		x := Exit{Status: how.Status}
		if how.Kind == ptrace.Killed {
			x = Exit{Signal: int(how.Signal)}
		}
		s.exits[pid], e.Status, e.Signal = x, x.Status, x.Signal
	} else {
		e.Text = "how it has ended is not known: another tracer had it"
	}
	if tell {
		s.tell(&e, true)
	}
	s.checkEnd()
}

// checkEnd ends the session when its last process has gone.
func (s *session) checkEnd() {
	s.loop.Ending = s.loop.Ending || len(s.loop.Procs)+len(s.lent) == 0
}

func (s *session) lifeEvent(e *event.Event, p *inferior.Process) {
	if s.tells && !p.Silent {
		s.tell(e, true)
	}
}
