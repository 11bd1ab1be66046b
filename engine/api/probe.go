package api

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
)

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
	Action   Action // default ActionCount
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
	Len     int    // with Watch AccessWrite or AccessReadWrite: 1, 2, 4 or 8 bytes
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

// Hit is a stopped task at a probe, given to a ProbeSpec's Func. It is valid
// only during the call, which runs on the session's thread and keeps all other
// stops waiting: be quick, and call no method of the Session.
type Hit interface {
	PID() int             // the process's id
	TID() int             // the thread's id
	Probe() event.ProbeID // that was hit
	Location() string     // the place's name, BINARY:FUNCTION[+OFF]
	Addr() arch.Addr      // the probed address
	Registers() arch.Regs // the task's, before the probed instruction
	// Arg is the i-th word of integer arguments, at a function's entry, as the
	// function's calling convention passes it: a string of Go's is two, a pointer
	// and a length. It is 0 where that passes it in no register, and where the
	// convention is not known, of which an event.Warning is told.
	Arg(i int) uint64
	// Calls is the calling convention of the function.
	Calls() arch.Convention
	// Result is what a function returns, at its exit: the first word. It is 0 where
	// the convention is not known or leaves results on the stack, of which an
	// event.Warning is told.
	Result() uint64
	// SetRegisters changes the task's registers before the probed instruction
	// is executed. A changed PC makes the task go on there instead.
	SetRegisters(r arch.Regs)
	// ReadMemory reads the process's memory as if there were no probes.
	ReadMemory(addr arch.Addr, buf []byte) error
	// WriteMemory writes the process's memory.
	WriteMemory(addr arch.Addr, data []byte) error
	// String reads the zero-terminated string at addr, up to 256 bytes.
	String(addr arch.Addr) string
	// Stop keeps the task stopped until Session.Resume, after an event.Stopped.
	Stop()
}
