// Package engine traces running programs: a Session puts probes into them and
// tells what happens.
//
//	s, err := engine.Attach(pid)            // or engine.Start(engine.Command{...})
//	p, err := s.Register(engine.ProbeSpec{Location: "libc:malloc"})
//	...
//	fmt.Println(s.Hits(p))
//	s.Detach()
//
// A session is one locked OS thread that owns the ptrace attachment; requests
// are queued to it and a doorbell wakes it, stops are decided on it, and no
// ptrace request ever leaves it. Several sessions may live in one program, and
// the program's own children are not touched. All methods of a Session may be
// called from any goroutine; but a ProbeSpec's Func runs on the session's
// thread and may use only the Hit it is given.
//
// Importing it needs no privilege by itself; attaching follows the rules of
// ptrace(2), and Diagnose says which of them is in the way.
package engine

import (
	"context"
	"iter"
	"os"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
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

// Action is what happens at a hit besides counting it.
type Action uint8

const (
	ActionCount Action = iota // nothing
	ActionTell                // an event.Hit with time, address and arguments
	ActionStop                // the task stops until Resume; an event.Stopped
	ActionCall                // Func runs on the stopped task
)

// Access is what a hardware probe waits for.
type Access uint8

const (
	AccessExecute   Access = iota // an instruction's execution
	AccessWrite                   // a write to data
	AccessReadWrite               // a read of or write to data
)

// ProbeSpec says what to probe and what to do there.
type ProbeSpec struct {
	// Location: [BINARY:]FUNCTION[+OFF], FUNCTION+*, FUNCTION%return, *ADDR,
	// with globs; see package symbols.
	Location string
	PID      int    // this process and its descendants only; 0: all
	Alone    bool   // not in the descendants of PID
	Except   []int  // not in these processes and their descendants, but where PID is nearer
	By       any    // the client, for Options.Allow
	Action   Action // default Count
	Func     func(Hit)
	// Args is how many integer arguments an event carries, up to
	// event.MaxArgs, as the function's calling convention has them: a string of
	// Go's is two, a pointer and a length. Where nothing says what the convention
	// is, as of some of Go's assembly, it carries none, and an event.Warning is
	// told. At an exit Args > 0 asks for the result, which is not there yet where
	// the exit is a jump to another function.
	Args int
	// Strings has bit i set if argument i points to a string that the event is to
	// carry: up to a 0, of Go's functions as long as argument i+1 says.
	Strings uint8
	Rung    breakpoint.Rung
	Watch   Access // with Rung Hardware and data: what for
	Len     int    // with AccessWrite or AccessReadWrite: 1, 2, 4 or 8 bytes
	Pending bool   // no error if the location is found nowhere yet
	// Handler runs at each hit: its entry program at Location, its exit
	// program where the function there returns. Action is ActionCount then, and Hits
	// and Placements are of the entry, of the exit if that is all there is.
	Handler Handler
	Cookie  uint64 // what the handler gets to know of its probe
	// Held has hits do nothing that stop the program, tell nothing and count nothing, until
	// Begin, which a probe with many others is going to be given.
	Held bool
}

// AsideOptions say how StepAside lets a process go.
type AsideOptions struct {
	// KeepJumps leaves the probes that are jumps, which count on. A tracer that puts a
	// breakpoint inside of one ends the program by it.
	KeepJumps bool
}

// Placement is one place in one process that serves a probe.
type Placement struct {
	Probe  event.ProbeID
	PID    int
	Name   string    // BINARY:FUNCTION[+OFF]
	Addr   arch.Addr // in the process
	Rung   breakpoint.Rung
	Reason string // why not a faster rung
	Gap    string // what of its hits could not be counted; empty: all were
	Err    error  // why it could not be planted at all
	Hits   uint64
	Space  int  // numbers the address spaces of a session: a process gets another by execve
	Exit   bool // the function's exit, not an instruction as such
}

// Task describes one thread.
type Task struct {
	TID     int
	Name    string
	Stopped bool
	PC      arch.Addr // of a stopped one
	Signal  int       // that a stopped one is about to get, or 0
}

// Exit is how a process ended.
type Exit struct {
	Status int // exit code
	Signal int // what killed it, 0 if it exited
}

// Code is the exit status a shell would give: 128+n for signal n.
func (e Exit) Code() int {
	if e.Signal != 0 {
		return 128 + e.Signal
	}
	return e.Status
}

// Stats count what a session did.
type Stats struct {
	Stops  uint64 // answers of wait
	Hits   uint64 // stops that were a probe's
	Missed uint64 // events dropped because the consumer was too slow
	// Uncounted is hits behind jumps that are in no count: of threads that share
	// their pointer to their own data with others, or came when there were more of
	// them than can be told apart while no tracer was there to see it.
	Uncounted uint64
	Pause     time.Duration // the longest time a task was stopped by ptracer while attaching, planting or detaching
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

// Attach traces a running process. It neither stops nor notices. A child of the
// calling process is not to be waited for meanwhile, as exec.Cmd.Wait does: the
// kernel tells that wait of the stops, too, and each is told once (ErrWaited).
func Attach(pid int, opts ...Options) (Session, error) {
	if err := refuse(pid); err != nil {
		return nil, err
	}
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err := s.AddProcess(pid); err != nil {
		s.Detach()
		return nil, err
	}
	return s, nil
}

// Start runs a program stopped before its first instruction; Resume(pid)
// lets it go once the probes are registered.
func Start(cmd Command, opts ...Options) (Session, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err := s.start(cmd); err != nil {
		s.Detach()
		return nil, err
	}
	return s, nil
}
