// Package api is a session as its clients see it: its interfaces, what they ask for, and what they
// are told. Package engine has the local session; package client of the arbiter that of a server.
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

// Session is a set of processes traced together. Its parts are interfaces of their own: a
// function takes the one that it needs.
type Session interface {
	Processes
	Probes
	Handlers
	Events
	Tasks
	Memory

	// Done is closed when the session has ended: all processes are gone or let go.
	Done() <-chan struct{}
	// Stats are the session's own counters.
	Stats() Stats

	// Leave ends the session as Detach does, but what works without a tracer
	// stays in the process: probes that are jumps, and handlers in it, for
	// OpenResident to read. The others are gone; their Placements have an error
	// that says why. That nothing can stay is an error. Options.Resident must be
	// set.
	Leave() error
	// Detach removes all that ptracer has put into the processes and lets them go on.
	Detach() error
	// Kill ends the processes started by this session and detaches the others.
	Kill() error
}

// Processes are the processes of a session.
type Processes interface {
	// Processes lists the processes traced now.
	Processes() []int
	// AddProcess attaches to one more process, all its tasks.
	AddProcess(pid int) error
	// RemoveProcess takes all that ptracer has put into a process out of it and lets it
	// go on untraced, with those that share its memory. The session ends with
	// its last process.
	RemoveProcess(pid int) error
	// Follow says whether children that a process makes from now on are traced,
	// too; theirs follow it in that.
	Follow(pid int, on bool) error
	// StepAside lets another tracer have a process: it is let go, and traced again
	// when that one has gone, or no tracer has come within wait. Its code is as in the
	// file meanwhile, and nothing is counted, unless jumps are to be kept. Tasks that
	// are kept stopped go on. An event.Aside and an event.Back are told; in between
	// requests about the process are answered by ErrAside, but for this one, which
	// says anew how long to wait for a tracer. A wait of 0 only ends one.
	StepAside(pid int, wait time.Duration, opts ...AsideOptions) error
	// Exit tells how a process of the session ended.
	Exit(pid int) (Exit, bool)
	// ISA is the instruction set of a process.
	ISA() arch.ISA
}

// Probes are the probes of a session, and what they count.
type Probes interface {
	// Register plants a probe in every process of the session where its
	// location is found, and in libraries, programs and children that come
	// later. A location that is found nowhere is an error that wraps
	// symbols.ErrNotFound, unless ProbeSpec.Pending is set.
	Register(ProbeSpec) (event.ProbeID, error)
	// Unregister takes a probe out again; what it counted stays readable.
	Unregister(event.ProbeID) error
	// Forget releases the memory of an unregistered probe. Hits and Placements no longer
	// work for it.
	Forget(event.ProbeID) error
	// Begin has probes count from one moment on, which it returns (see Now): what they
	// were hit, and what their handlers have found out, before that is forgotten; not
	// their records and events, which have their own time. All tasks that come to the
	// probes stand meanwhile.
	Begin(ids ...event.ProbeID) (at int64, err error)
	// Finish is Unregister for several probes at one moment, which it returns.
	Finish(ids ...event.ProbeID) (at int64, err error)
	// Hits is how often a probe was hit so far, in all processes; 0 for one that is Held.
	Hits(event.ProbeID) uint64
	// Placements lists where a probe is (or, once unregistered, was) planted,
	// by process and address, with its hits. 0 lists all probes.
	Placements(event.ProbeID) []Placement
}

// Handlers are the handlers that a session runs at its probes.
type Handlers interface {
	// OpenHandler makes a handler ready for probes of this session. It must be
	// closed, at the session's end at the latest.
	OpenHandler(HandlerSpec) (Handler, error)
	// RunHandler runs a handler once, on a stopped task, with the given
	// arguments in the place of a function's.
	RunHandler(spec HandlerSpec, tid int, args ...uint64) (Run, error)
}

// Events are what a session tells.
type Events interface {
	// Poll waits for the next event. At the end of the session, when all that
	// happened has been told, it returns ErrEnded.
	Poll(context.Context) (event.Event, error)
	// Events iterates over Poll until the session ends or ctx is done.
	Events(context.Context) iter.Seq[event.Event]
}

// Tasks are the threads of a session's processes: stopped, looked at, and let go.
type Tasks interface {
	// Tasks lists the tasks of a process.
	Tasks(pid int) ([]Task, error)
	// Interrupt stops all tasks of a process and returns when they stand.
	Interrupt(pid int) error
	// InterruptTask stops one task and returns when it stands; the others go on.
	InterruptTask(tid int) error
	// Resume lets a stopped task, or with a process id all of a process's
	// stopped tasks, go on.
	Resume(id int) error
	// ResumeTask lets one stopped task go on, also one whose id is its process's.
	// With ok it does so only if ok says so, which is asked when no stop is being
	// decided, on the session's thread: for callers that count on whose behalf a task
	// stands. It may call no method of the Session.
	ResumeTask(tid int, ok func() bool) error
	// Step has a stopped task execute one instruction, and stand again: behind it,
	// at a probe there that stops, or where it is about to get a signal
	// (Task.Signal), which it gets when it goes on: the signal's handler is not
	// stepped into. Other tasks are as they were.
	Step(tid int) error
	// Signal sends a signal to a process, or to a task that is not its first.
	Signal(id, signal int) error
	// DropSignal takes away the signal that a stopped task is about to get.
	DropSignal(tid int) error
	// Registers reads a stopped task's registers as the program has them.
	Registers(tid int) (arch.Regs, error)
	// SetRegisters replaces a stopped task's registers.
	SetRegisters(tid int, regs arch.Regs) error
}

// Memory is the memory of a session's processes.
type Memory interface {
	// ReadMemory reads a process's memory as if there were no probes.
	ReadMemory(pid int, addr arch.Addr, buf []byte) error
	// WriteMemory writes a process's memory and keeps the probes.
	WriteMemory(pid int, addr arch.Addr, data []byte) error
	// Symbolize tells what is at an address of a process, also after its end.
	Symbolize(pid int, addr arch.Addr) (Symbol, bool)
}

// Options of a session.
type Options struct {
	Follow  bool // trace the children of traced processes too
	Buffer  int  // events kept for a slow consumer; default 65536
	Signals bool // tell signals as events
	// Resident is for probes that are to stay in a process when the session
	// ends (Session.Leave): what they find out lies in files. Of one process
	// only, without Follow; handlers are handler.Tracee's.
	Resident bool
	Life     bool // tell forks, clones, execs, exits and libraries as events
	// Allow, if it is there, reports whether the client that has asked for a probe (ProbeSpec.By)
	// may have it in a process. It is asked on the session's thread, before the
	// client's first probe is planted there, and again when the process has executed
	// another program, which may have other rights.
	Allow func(by any, pid int) bool
	// Handlers are those that can be opened by name; nil: the built-in ones.
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
