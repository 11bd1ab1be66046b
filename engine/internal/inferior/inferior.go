// Package inferior is what a session knows of the programs it traces: tasks,
// processes and address spaces, and the registers of a stopped task, read at
// most once a stop and written back only if changed.
//
// All of it lives on the session's locked thread. It may import the ptrace
// door, breakpoint, symbols and arch; it decides nothing.
package inferior

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// State is where a task is, as far as it is known.
type State uint8

const (
	Running   State = iota // or on its way to a stop not yet waited for
	Stopped                // waits for the next request
	Listening              // in a job-control stop (PTRACE_LISTEN)
	Gone                   // ended
)

// Task is one kernel thread.
type Task struct {
	TID     int
	Process *Process
	State   State
	Stop    ptrace.Stop // the stop it is in, while Stopped
	Taken   bool        // the stop will not be told by wait again

	Settled   bool            // registers say how to go on with an interrupted system call (arm64)
	Fresh     bool            // has not had its first stop
	Asked     bool            // an Interrupt has not been answered by a stop yet
	Hold      int             // requests in progress that keep it stopped
	VForks    bool            // waits for its child by vfork, or is about to
	User      bool            // a tracer keeps it stopped
	Kept      int             // how often a probe has had it stopped
	HeldSig   ptrace.Signo    // to be delivered when it is let go
	Watched   bool            // has debug registers set
	Moved     bool            // a hit's Func has changed the PC
	Suspended bool            // its seccomp filters are suspended
	Dispatch  ptrace.Dispatch // which of its system calls come back to it, while that is suspended
	Entering  bool            // its next stop is at the guard's first instruction
	View      arch.Regs       // registers as probes see them, during a hit
	registers
}

// registers are what is read of the registers of a task that stands, and not written back yet.
type registers struct {
	regs          arch.Regs
	have, new     bool      // regs are read; regs are changed
	pc            arch.Addr // the program counter alone
	havePC, newPC bool
}

// Skip is a hit that was told before a signal took the task out of the slot:
// a task that comes back to the site at that stack pointer makes no new hit. That is
// another task where a Go program's handler has preempted the goroutine.
type Skip struct {
	TID  int // that the signal took out
	Addr arch.Addr
	SP   uint64
}

// Process is one traced thread group.
type Process struct {
	PID     int
	Tasks   map[int]*Task
	Space   *Space
	Follow  bool     // its children are traced, too
	Silent  bool     // a child that is not followed, kept only until it lets go of its parent's memory
	VFork   *Process // parent whose memory it shares since vfork or clone(CLONE_VM)
	Modules map[string]*symbols.Module
	Unread  []*objfile.UnreadError // objects that it has mapped as well
	Name    string                 // comm
	// Ancestors are the traced processes that it descends from.
	Ancestors []int
	Exit      *ptrace.Stop
	Leaving   bool
	Lent      bool // it is let go for another tracer, and what counts by itself counts on
	Stale     bool // what was put into its parent may not be in it as it is known
	Hold      int  // requests in progress that halt all its tasks, and new ones
	// Old is the program's own SIGTRAP action where it is not the space's.
	Old   *ptrace.SigAction
	Traps bool // has been given a SIGTRAP of its own
	// Allowed are those of whom it is known whether they may have probes in it.
	Allowed map[any]bool
	// Guarded: its SIGTRAP handler is the guard. Processes that share a space have
	// handlers of their own.
	Guarded bool
	// Reguard: it is to get that handler, before it runs, for it was made without
	// (CLONE_CLEAR_SIGHAND), or with another's flags.
	Reguard bool
}

// Space is an address space; tasks with CLONE_VM share it.
type Space struct {
	ID     int // since the first probe was placed in it: the session's number of it
	Memory *ptrace.Memory
	Table  *breakpoint.Table
	Users  int // processes
	Guard  Guard
	ThreadTable
	// Resident: probes that were left in it are being taken away.
	Resident bool
	// Found: there was something of a dead tracer's in it, or of one that had gone:
	// its tasks have been in ptracer's code without a tracer to keep signals from them.
	Found bool
	Files []int // descriptors that a dead tracer had it open
	// Epoch grows with what is written into it; see Guard.Settle of package guard.
	Epoch               uint64
	Dispatches          bool   // system calls come back to some of its tasks
	NoTime, TimeChecked bool   // the CPU's counter of time is forbidden to it; it was looked whether
	Skips               []Skip // sites that tasks come back to without a new hit
	// Scratch is where stubs lie before and after there is a mapping for them.
	Scratch arch.Addr
}

// ThreadTable is how code behind jumps tells a space's threads apart.
type ThreadTable struct {
	Threads arch.Addr // the table, 0: none
	Stacks  arch.Addr // stacks of ptracer's for its threads, 0: none
	// NoThreadSlots: its threads can't be told apart by what the ABI says.
	// ThreadSlotsChecked: whether they can be has been looked at.
	NoThreadSlots, ThreadSlotsChecked bool
	ThreadsNoted                      bool // the table has what is known of its threads
	Other                             int  // the one that has no pointer yet, by its TID; 0: none, -1: there is no telling
	Alike                             bool // there are tasks with the same pointer, that run beside each other
}

// Guard is what is known of the SIGTRAP handler that ptracer puts into a space's
// process.
type Guard struct {
	Installed bool
	Data      arch.Addr        // the page: memory that the tracee's kernel may write
	Ours      ptrace.SigAction // as installed
	Old       ptrace.SigAction // the program's own
	Watches   bool             // there are watchpoints
	Swallow   bool             // it has been told that debug traps may be ptracer's
}

// Begin records a new stop: what was known of the registers is void.
func (t *Task) Begin(s ptrace.Stop) {
	t.State, t.Stop, t.Taken = Stopped, s, false
	t.have, t.new, t.havePC, t.newPC = false, false, false, false
}

// Take makes wait not tell the present stop again: the task is going to stay
// in it for a while. It returns the stop that was taken, which is Exit where the task
// was killed meanwhile.
func (t *Task) Take() (s ptrace.Stop) {
	if t.State == Stopped && !t.Taken {
		t.Taken = true
		s = ptrace.Take(t.TID)
	}
	return s
}

// Keep has the task stay stopped, for a tracer.
func (t *Task) Keep() {
	t.User = true
	t.Kept++
}

// AtEvent reports whether the task stands in an event stop, from where it can be had to do
// anything.
func (t *Task) AtEvent() bool {
	return t.State == Stopped && (t.Stop.Kind == ptrace.Trap || t.Stop.Kind == ptrace.Group)
}

// Held reports whether the task is to stay stopped.
func (t *Task) Held() bool { return t.Hold > 0 || t.User }

// Regs gives the general registers, to be changed only through SetRegs.
func (t *Task) Regs() (*arch.Regs, error) {
	if !t.have {
		if err := ptrace.GetRegs(t.TID, &t.regs); err != nil {
			return nil, err
		}
		t.have = true
		if t.newPC {
			t.newPC, t.new = false, true
			t.regs[ptrace.PCWord] = uint64(t.pc)
		}
	}
	return &t.regs, nil
}

// SetRegs sets the general registers; the kernel is told at resume.
func (t *Task) SetRegs(r *arch.Regs) {
	t.regs, t.have, t.new = *r, true, true
}

// PC gives the program counter, by itself where the kernel has a request for
// that: a counting hit needs no other register.
func (t *Task) PC() (arch.Addr, error) {
	if t.have || !ptrace.OnePC {
		r, err := t.Regs()
		if err != nil {
			return 0, err
		}
		return arch.Addr(r[ptrace.PCWord]), nil
	}
	if !t.havePC {
		pc, err := ptrace.GetPC(t.TID)
		if err != nil {
			return 0, err
		}
		t.pc, t.havePC = pc, true
	}
	return t.pc, nil
}

// SetPC sets the program counter; the kernel is told at resume.
func (t *Task) SetPC(pc arch.Addr) {
	switch {
	case t.have:
		t.new = t.new || t.regs[ptrace.PCWord] != uint64(pc)
		t.regs[ptrace.PCWord] = uint64(pc)
	case t.havePC && t.pc == pc: // behind a trap in the place of a no-operation
	default:
		t.pc, t.havePC, t.newPC = pc, true, true
	}
}

// Options are the ptrace options that the task is to have.
func (t *Task) Options() uintptr {
	if t.TID == t.Process.PID {
		return ptrace.Follow | ptrace.BeforeExit
	}
	return ptrace.Follow
}

// Flush tells the kernel of changed registers.
func (t *Task) Flush() error {
	switch {
	case t.new:
		t.new = false
		return ptrace.SetRegs(t.TID, &t.regs)
	case t.newPC:
		t.newPC = false
		return ptrace.SetPC(t.TID, t.pc)
	}
	return nil
}

// Leader is the task whose id is the process's, or nil if it has exited first.
func (p *Process) Leader() *Task { return p.Tasks[p.PID] }

// Restart has a system call that a stop has ended begin again when the task goes on.
func (t *Task) Restart() error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	if again := *r; ptrace.Restart(&again) {
		t.SetRegs(&again)
	}
	return nil
}
