// Package api is a session as its clients see it: the interfaces, what clients ask for, and what
// they are told. Package engine implements it for a session of this program, engine/arbiter/client
// for a session of a server. The package has no code that traces.
package api

import (
	"context"
	"iter"
	"os"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
)

// Session is a set of processes that are traced together. Its parts are interfaces of their own: a
// function takes the part that it needs.
type Session interface {
	Processes
	Probes
	Handlers
	Events
	Tasks
	Memory

	// Done returns a channel that is closed when the session has ended: all its processes have
	// ended or are let go.
	Done() <-chan struct{}
	// Stats returns the session's own counters.
	Stats() Stats

	// Leave ends the session as Detach does, but leaves in the process what works without a tracer:
	// probes that are jumps, and their handlers. OpenResident reads them. The other probes are
	// taken out, and their Placements have an error that says why. It is an error if nothing can
	// stay. Options.Resident must be set.
	Leave() error
	// Detach takes out of all processes what ptracer has put into them, and lets them go on.
	Detach() error
	// Kill kills the processes that this session has started and detaches from the others.
	Kill() error
}

// Processes are the processes of a session.
type Processes interface {
	// Processes returns the ids of the processes that are traced now, or lent.
	Processes() []int
	// AddProcess attaches to all tasks of one more process.
	AddProcess(pid int) error
	// RemoveProcess takes out of a process what ptracer has put into it and lets it go on untraced,
	// with the processes that share its memory. The session ends with its last process.
	RemoveProcess(pid int) error
	// Follow sets whether children that a process makes from now on are traced, too. Children
	// inherit the setting.
	Follow(pid int, on bool) error
	// StepAside lends a process to another tracer. The session lets the process go, and traces it
	// again when the other tracer has gone, or when none has come within wait. Meanwhile the code
	// is that of the file and nothing is counted, unless KeepJumps is set. Tasks that were kept
	// stopped go on. An event.Released is told at the beginning and an event.Reattached at the end.
	// In between requests about the process fail with ErrAside. Another StepAside sets anew how
	// long to wait; a wait of 0 ends the wait.
	StepAside(pid int, wait time.Duration, opts ...AsideOptions) error
	// Exit returns how a process of the session ended, if that is known.
	Exit(pid int) (Exit, bool)
	// ISA returns the instruction set of the session's processes.
	ISA() arch.ISA
}

// Probes are the probes of a session, and what they count.
type Probes interface {
	// Register plants a probe in every process of the session in which its location is found, and
	// in libraries, programs and children that come later. If the location is found nowhere, the
	// error wraps symbols.ErrNotFound, unless ProbeSpec.Pending is set.
	Register(ProbeSpec) (event.ProbeID, error)
	// Unregister takes a probe out. What it has counted stays readable.
	Unregister(event.ProbeID) error
	// Release gives back the memory of an unregistered probe. Hits and Placements no longer work for
	// it.
	Release(event.ProbeID) error
	// Begin makes probes count from one moment on, which it returns in ns (see Now). What they and
	// their handlers have counted before is forgotten. Records and events are not: they have their
	// own time. All tasks that can come to the probes stand meanwhile.
	Begin(ids ...event.ProbeID) (at int64, err error)
	// Finish unregisters several probes at one moment, which it returns in ns.
	Finish(ids ...event.ProbeID) (at int64, err error)
	// Hits returns how often a probe was hit so far, in all processes. It is 0 for a probe that is
	// Held.
	Hits(event.ProbeID) uint64
	// Placements returns where a probe is, or was when it was unregistered, with the hits of each
	// placement. 0 stands for all probes.
	Placements(event.ProbeID) []Placement
}

// Handlers are the handlers that a session runs at its probes.
type Handlers interface {
	// OpenHandler makes a handler ready for probes of this session. The caller must close it, at
	// the session's end at the latest.
	OpenHandler(HandlerSpec) (Handler, error)
	// RunHandler runs a handler once, on a stopped task. args stand for a function's arguments;
	// without any the task's own are used.
	RunHandler(spec HandlerSpec, tid int, args ...uint64) (Run, error)
}

// Events are what a session tells.
type Events interface {
	// Poll returns the next event, and waits for it. When the session has ended and all events have
	// been told, the error is ErrEnded.
	Poll(context.Context) (event.Event, error)
	// Events iterates over Poll until the session ends or ctx is done.
	Events(context.Context) iter.Seq[event.Event]
}

// Tasks are the threads of a session's processes.
type Tasks interface {
	// Tasks returns the tasks of a process.
	Tasks(pid int) ([]Task, error)
	// Interrupt stops all tasks of a process and returns when they stand.
	Interrupt(pid int) error
	// InterruptTask stops one task and returns when it stands. The other tasks go on.
	InterruptTask(tid int) error
	// Resume lets a stopped task go on. With a process's id it lets all stopped tasks of the
	// process go on.
	Resume(id int) error
	// ResumeTask lets one stopped task go on, also one that has its process's id.
	ResumeTask(tid int) error
	// Step makes a stopped task execute one instruction and stand again. The task stands behind the
	// instruction, at a probe there that stops, or where it is about to get a signal (Task.Signal):
	// it gets the signal when it goes on, and the signal's handler is not stepped into. Other tasks
	// stay as they are.
	Step(tid int) error
	// Signal sends a signal to a process, or to a task that is not its first.
	Signal(id, signal int) error
	// DropSignal takes away the signal that a stopped task is about to get.
	DropSignal(tid int) error
	// Registers returns a stopped task's registers as the program has them.
	Registers(tid int) (arch.Regs, error)
	// SetRegisters sets a stopped task's registers.
	SetRegisters(tid int, regs arch.Regs) error
}

// Memory is the memory of a session's processes.
type Memory interface {
	// ReadMemory fills buf with a process's memory as if there were no probes.
	ReadMemory(pid int, addr arch.Addr, buf []byte) error
	// WriteMemory writes data into a process's memory and keeps the probes.
	WriteMemory(pid int, addr arch.Addr, data []byte) error
	// Symbolize returns what is at an address of a process, also after the process's end.
	Symbolize(pid int, addr arch.Addr) (Symbol, bool)
}

// Options are the options of a session.
type Options struct {
	Follow  bool // trace the children of traced processes, too
	Buffer  int  // how many events are kept for a slow client; default 65536
	Signals bool // signals are told as events
	// Resident is for probes that are to stay in a process when the session ends (Session.Leave):
	// their results lie in files. The session has one process then, without Follow, and its
	// handlers run in the program (handler.Tracee).
	Resident bool
	Life     bool // forks, clones, execs, exits and libraries are told as events
	// Handlers are the handlers that can be opened by name; nil: the built-in ones.
	Handlers *handler.Registry
}

// Command is a program to start.
type Command struct {
	Path                  string   // looked up in PATH if it has no slash
	Args                  []string // without the program's name
	Env                   []string // nil: the tracer's
	Dir                   string
	Stdin, Stdout, Stderr *os.File // nil: /dev/null
	NoASLR                bool     // without address space randomisation
}
