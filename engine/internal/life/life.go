// Package life follows processes, threads and libraries as they come and go. It attaches to
// processes, takes in children and new programs, notes ends, and lets processes go as they were.
//
// All of it runs on the session's thread. Other tracers' processes are package aside's, what stays
// behind package resident's.
package life

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hit"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/objects"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// Life has the processes of a session.
type Life struct {
	Exits   map[int]api.Exit // how processes have ended, by id
	Started map[int]bool     // the processes that the session has started, by id
	// Lent has the ids of processes that are let go and are to come back.
	Lent map[int]bool

	queue   *event.Queue
	objects *objects.Objects
	loop    *tasks.Set
	remote  *remote.Caller
	guard   *guard.Guard
	inproc  *inproc.InProcess
	jump    *jump.Jumps
	watch   *watch.Registers
	hook    *hook.Hooks
	plant   *plant.Planter
	hit     *hit.Hits
	rooms   []inferior.Room
	clean   *clean.Cleaner
	isa     arch.ISA

	o     Options
	hooks [len(watchedCalls)]probe.Hook   // what runs at the hooks of each of watchedCalls
	calls map[*symbols.File][][]arch.Addr // the instructions found in a file, for each of watchedCalls
}

// Below has the rooms that Life works with.
type Below struct {
	Queue   *event.Queue
	Objects *objects.Objects
	Loop    *tasks.Set
	Remote  *remote.Caller
	Guard   *guard.Guard
	InProc  *inproc.InProcess
	Jump    *jump.Jumps
	Watch   *watch.Registers
	Hook    *hook.Hooks
	Plant   *plant.Planter
	Hit     *hit.Hits
	Clean   *clean.Cleaner
	ISA     arch.ISA
}

// Options are what the rooms above want.
type Options struct {
	Follow bool // children are traced, too
	Tell   bool // forks, execs, exits and libraries are told as events
	// OnPtrace and OnClone are the hooks at calls of ptrace, and at calls of clone outside of a
	// libc.
	OnPtrace, OnClone probe.Hook
	// Attached is called when a process has been attached to, before it gets probes. An error ends
	// the attach.
	Attached func(pid int) error
}

// New returns a session's Life, without processes.
func New(b Below, o Options) *Life {
	x := &Life{Exits: map[int]api.Exit{}, Started: map[int]bool{}, Lent: map[int]bool{},
		queue: b.Queue, objects: b.Objects, loop: b.Loop, remote: b.Remote, guard: b.Guard, inproc: b.InProc, jump: b.Jump,
		watch: b.Watch, hook: b.Hook, plant: b.Plant, hit: b.Hit, rooms: []inferior.Room{b.Objects, b.Plant, b.Watch, b.Hook, b.Jump, b.InProc}, clean: b.Clean, isa: b.ISA,
		o: o, calls: map[*symbols.File][][]arch.Addr{}}
	x.hooks = [...]probe.Hook{x.onSigaction, o.OnPtrace, o.OnClone, b.Hit.OnPrctl, b.Hit.OnArchPrctl}
	return x
}

// addProcess adds a process to the session.
func (x *Life) addProcess(pid int, space *inferior.Space) *inferior.Process {
	return x.loop.AddProcess(pid, procfs.Comm(pid), space, x.o.Follow)
}

// OnTrap decides the stop that an interrupt has asked for, or a new task's first stop.
func (x *Life) OnTrap(t *inferior.Task) error {
	if t.Fresh {
		t.Asked = false
		return x.onFirstStop(t)
	}
	if err := t.Restart(); err != nil {
		return err
	}
	if t.Held() && x.hit.TrapPending(t) {
		// The task is not interrupted again: that stop, too, would come before the trap's
		// signal. The stop of the signal will serve.
		t.Asked = true
		return x.loop.LetGo(t, 0)
	}
	t.Asked = false
	if done, err := x.hit.StepOut(t); done || err != nil {
		return err
	}
	return x.loop.Resume(t, 0)
}

// OnGroup decides a job-control stop. The stop stays in force: the task listens for its end.
func (x *Life) OnGroup(t *inferior.Task) error {
	if t.Held() && !t.Fresh && x.hit.TrapPending(t) {
		t.Asked = true // the task comes back to a group stop behind its trap
		return x.loop.LetGo(t, 0)
	}
	t.Asked = false
	if t.Fresh {
		return x.onFirstStop(t)
	}
	if t.Held() { // a task that is not held listens, and leaves the trampoline when it goes on
		if done, err := x.hit.StepOut(t); done || err != nil {
			return err
		}
	}
	return x.loop.Resume(t, 0)
}

// onFirstStop gives a new task what its process has: the guard, debug registers, ids.
func (x *Life) onFirstStop(t *inferior.Task) error {
	t.Fresh = false
	p := t.Process
	_ = ptrace.SetOptions(t.TID, t.Options()) // it has inherited those of the task that made it
	if err := x.guard.Reguard(t); err != nil {
		if ptrace.IsGone(err) {
			return err
		}
		x.loop.Warn(p, "child %d: the guard: %v", p.PID, err)
	}
	if p.Stale {
		return x.onStale(t)
	}
	if p.Leaving && len(p.Tasks) == 1 {
		return x.Release(p)
	}
	t.Hold++ // it stands until it has all
	if err := x.plant.Strip(p); err != nil && !ptrace.IsGone(err) {
		x.loop.Warn(p, "child %d: %v", p.PID, err)
	}
	if t.Hold--; t.State == inferior.Gone {
		return nil
	}
	if err := x.inproc.NoteThread(t); err != nil && !ptrace.IsGone(err) {
		x.loop.Warn(p, "task %d: its ids: %v", t.TID, err)
	}
	if err := x.watch.Set(t); err != nil {
		x.loop.Warn(p, "task %d: hardware probes: %v", t.TID, err)
	}
	if err := x.jump.WatchThreadSlots(t); err != nil && !ptrace.IsGone(err) {
		x.loop.Warn(p, "task %d: the place of its counts: %v", t.TID, err)
	}
	return x.loop.ResumeStopped(t)
}

// OnNewTask takes a new thread or process into the session, whichever event the kernel has reported
// it by.
func (x *Life) OnNewTask(t *inferior.Task, kind ptrace.Kind) error {
	child, err := ptrace.EventMessage(t.TID, kind)
	if err != nil {
		return err
	}
	parent := t.Process
	t.VForks = kind == ptrace.VFork
	flags, err := cloneFlags(t, kind)
	if err != nil && procfs.Group(child) == parent.PID { // the parent was killed meanwhile
		flags = cloneThread | cloneVM
	}
	switch {
	case flags&cloneThread != 0:
		x.loop.TakeEarly(x.loop.Add(parent, child, true))
		x.lifeEvent(parent, parent.PID, t.TID, &event.Clone{Child: child})
	case flags&cloneVM != 0:
		p := x.addProcess(child, parent.Space)
		x.descend(p, parent)
		p.VFork, p.Silent, p.Name, p.Guarded = parent, parent.Silent || !parent.Follow, parent.Name, parent.Guarded
		if flags&cloneSighand == 0 {
			own := actionOf(parent, flags)
			p.Old, p.Reguard = &own, flags&cloneCleared != 0
		} else {
			p.Old = parent.Old // it shares its parent's handlers, also later ones
		}
		x.lifeEvent(p, parent.PID, t.TID, &event.Fork{Child: child})
		x.loop.TakeEarly(x.loop.Add(p, child, true))
	default:
		if err := x.onFork(t, child, flags); err != nil {
			x.loop.Warn(parent, "child %d: %v", child, err)
		}
	}
	if flags&cloneVM != 0 && flags&(cloneVFork|cloneSetTLS) == 0 { // it begins with its parent's thread pointer
		err := x.inproc.NoteAlike(t)
		if err = errors.Join(err, x.jump.LeaveThreadSlots(parent)); err != nil {
			x.loop.Warn(parent, "the place of its counts: %v", err)
		}
	}
	return x.loop.ResumeStopped(t)
}

// The flags of clone(2), from sched.h.
const (
	cloneVM      = 0x100
	cloneSighand = 0x800
	cloneVFork   = 0x4000
	cloneThread  = 0x10000
	cloneSetTLS  = 0x80000
	cloneCleared = 0x100000000 // CLONE_CLEAR_SIGHAND, of clone3
)

// cloneFlags returns what a new task shares with its parent, from the parent's system call. The
// kernel's event does not tell, and the child may have died already. It fails if the parent was
// killed meanwhile.
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
		return binary.LittleEndian.Uint64(b[:]), err
	case ptrace.SysClone:
		return arg, nil
	}
	if kind == ptrace.VFork {
		return cloneVM | cloneVFork, nil
	}
	return 0, nil
}

// OnExec gives a process its new program. The space is new, and of its tasks only the leader is
// left, whichever task has made the call.
func (x *Life) OnExec(t *inferior.Task) error {
	p := t.Process
	for tid, other := range p.Tasks {
		if other != t {
			x.forgetTask(other)
			delete(x.loop.Tasks, tid)
		}
	}
	t.Fresh = false
	ignored := p.Space.Guard.Installed && guard.OwnAction(p).Handler == ptrace.SigIgn
	x.leaveSpace(p)
	x.plant.WaitLinks() // the old uprobes are of this process: a hit would count twice
	mem, err := ptrace.OpenMemory(p.PID)
	if err != nil {
		if !inferior.IsEnded(err) { // else its end is told next
			x.loop.Warn(p, "the program that %d has executed is not traced: %v", p.PID, inferior.Unopened(p.PID, "mem", err))
			t.State, p.VFork = inferior.Gone, nil
			delete(x.loop.Tasks, t.TID)
			delete(x.loop.Procs, p.PID)
			err = ptrace.Detach(t.TID, 0) // there is nothing of ptracer's in it
			x.CheckEnd()
		}
		return err
	}
	p.VFork, p.Old, p.Traps, p.Guarded, p.Name = nil, nil, false, false, procfs.Comm(p.PID)
	x.newSpace(p, mem)
	path, _ := os.Readlink(procfs.Path(p.PID, "exe"))
	if p.Silent || p.Leaving {
		if ignored {
			err = x.reignore(t)
		}
		return errors.Join(err, x.Release(p))
	}
	x.lifeEvent(p, p.PID, t.TID, &event.Exec{Path: path})
	t.Hold++
	if ignored {
		err = x.reignore(t)
	}
	x.plant.Beginning = true
	x.Rescan(p)
	x.plant.Beginning = false
	t.Hold--
	if t.State == inferior.Gone {
		return err
	}
	if err2 := x.loop.Resume(t, 0); err == nil {
		err = err2
	}
	return err
}

// reignore makes a new program ignore SIGTRAP. It would have inherited that if the guard had not
// been in the place of its parent's action.
func (x *Life) reignore(t *inferior.Task) error {
	if err := x.loop.ToEventStop(t); err != nil {
		return err
	}
	data, err := x.remote.Call(t, ptrace.SysMmap, 0, inferior.PageSize, ptrace.ProtRW, ptrace.MapPrivateAnon, ^uint64(0), 0)
	if err != nil {
		return err
	}
	space := t.Process.Space
	space.Guard.Data = arch.Addr(data)
	_, err = x.guard.Sigaction(t, &ptrace.SigAction{Handler: ptrace.SigIgn})
	space.Guard.Data = 0
	_, err2 := x.remote.Call(t, ptrace.SysMunmap, data, inferior.PageSize)
	return errors.Join(err, err2, x.remote.ClearScratch(t))
}

// leaveSpace takes a process off its space. The last process closes the space.
func (x *Life) leaveSpace(p *inferior.Process) {
	last := p.Space.Users == 1
	for _, room := range x.rooms {
		room.Left(p, last)
	}
	if p.Space.Users--; last {
		_ = p.Space.Memory.Close()
		p.Space.Table = clean.NewTable(x.isa, p.Space.Memory, x.remote.Room(p.Space)) // placements still point to the process
	}
}

// OnEnd decides the end of a task. The end of the last task is the process's.
func (x *Life) OnEnd(t *inferior.Task, stop ptrace.Stop) error {
	p := t.Process
	if t.TID == p.PID || p.Exit == nil {
		p.Exit = &stop // the leader's end is the process's, and comes last
	}
	x.forgetTask(t)
	if len(p.Tasks) == 0 {
		x.endProcess(p)
	}
	return nil
}

// forgetTask forgets a task that has ended.
func (x *Life) forgetTask(t *inferior.Task) {
	x.loop.Forget(t)
	_ = x.guard.Forget(t) // an error says that the memory is gone, too
	space := t.Process.Space
	space.Skips = slices.DeleteFunc(space.Skips, func(k inferior.Skip) bool { return k.TID == t.TID })
}

// endProcess forgets a process that has ended.
func (x *Life) endProcess(p *inferior.Process) {
	x.leaveSpace(p)
	delete(x.loop.Procs, p.PID)
	x.Exited(p.PID, p.Exit, p.Silent)
}

// Exited notes how a process has ended, if that is known (how is not nil), and tells it unless the
// process is silent.
func (x *Life) Exited(pid int, how *ptrace.Stop, silent bool) {
	b := &event.Exit{}
	if how != nil {
		end := api.Exit{Status: how.Status}
		if how.Kind == ptrace.Killed {
			end = api.Exit{Signal: int(how.Signal)}
		}
		x.Exits[pid], b.Status, b.Signal = end, end.Status, end.Signal
	} else {
		b.Text = "how it has ended is not known: another tracer had it"
	}
	if x.o.Tell && !silent {
		x.queue.Tell(&event.Event{PID: pid, TID: pid, Body: b}, true)
	}
	x.CheckEnd()
}

// CheckEnd ends the session if it has no processes any more.
func (x *Life) CheckEnd() {
	x.loop.Ending = x.loop.Ending || len(x.loop.Procs)+len(x.Lent) == 0
}

// lifeEvent tells what has happened in the life of a process p, if such events are asked for. pid
// and tid are those of the event.
func (x *Life) lifeEvent(p *inferior.Process, pid, tid int, what event.Body) {
	if x.o.Tell && !p.Silent {
		x.queue.Tell(&event.Event{PID: pid, TID: tid, Body: what}, true)
	}
}

// OnExiting decides the stop of a task that is about to end. The task can't be held. If it is the
// first of a process, the process's memory is looked at for lost patches.
func (x *Life) OnExiting(t *inferior.Task) error {
	space := t.Process.Space
	if t.TID == t.Process.PID && !t.Process.Silent {
		x.plant.NoteLost(space, space.Table.Sites())
		x.plant.NoteCopies(t.Process)
	}
	t.State = inferior.Running
	return ptrace.Cont(t.TID, 0)
}

// Orphan takes what there is of ptracer's out of an orphan, as if a dead tracer had left it, and
// lets the orphan go.
func (x *Life) Orphan(task int) {
	mem, err := ptrace.OpenMemory(task)
	if err != nil {
		if !inferior.IsEnded(err) {
			x.loop.LetLoose(task)
		}
		return
	}
	p := x.addProcess(task, &inferior.Space{})
	x.newSpace(p, mem)
	p.Stale, p.Leaving, p.Silent, p.Follow = true, true, true, false
	x.loop.TakeEarly(x.loop.Add(p, task, true))
}
