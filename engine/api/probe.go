package api

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
)

// Action is what happens at a hit, besides that it is counted.
type Action uint8

const (
	ActionCount Action = iota // nothing
	ActionTell                // an event.Hit is told, with time, address and arguments
	ActionStop                // the task stops until Resume, and an event.Stopped is told
	ActionCall                // Func runs on the stopped task
)

// Access is what a hardware probe waits for.
type Access uint8

const (
	AccessExecute   Access = iota // an instruction's execution
	AccessWrite                   // a write to data
	AccessReadWrite               // a read of or write to data
)

// ProbeSpec says what to probe, and what to do there.
type ProbeSpec struct {
	// Location is [BINARY:]FUNCTION[+OFF], FUNCTION+*, FUNCTION%return or *ADDR. Names may be
	// globs; see package symbols.
	Location string
	PID      int    // only this process and its descendants; 0: all processes
	Alone    bool   // not in the descendants of PID
	Except   []int  // not in these processes and their descendants, unless PID is a nearer ancestor
	Action   Action // default ActionCount
	Func     func(Hit)
	// Args are the integer arguments that an event carries, from the first on, up to event.MaxArgs,
	// by the function's calling convention. A Go string is two arguments, a pointer and a length.
	// Where the convention is not known, as of some of Go's assembly, the event carries none, and an
	// event.Warning is told. At an exit one argument or more asks for the result. It is not there if
	// the exit is a jump to another function.
	Args    []Arg
	Rung    breakpoint.Rung
	Watch   Access // with Rung Hardware: what the debug register waits for
	Len     int    // in bytes, with Watch AccessWrite or AccessReadWrite: 1, 2, 4 or 8
	Pending bool   // it is no error that the location is not found yet
	// Handler runs at each hit: its entry program at Location, its exit program where that function
	// returns. Action is ActionCount then. Hits and Placements are of the entry, or of the exit if
	// the handler has no entry.
	Handler Handler
	Cookie  uint64 // a number that the handler can read, to tell probes apart
	// Held keeps the probe from doing anything at stops until Begin: nothing is counted, told or
	// run. It is for probes that begin together with others.
	Held bool
}

// Arg asks for an argument of a function, or for its result.
type Arg struct {
	// Text asks for the string that it points to, too. The string ends at a 0; in Go functions its
	// length is the next argument.
	Text bool
}

// Placement is one address of one process at which a probe is.
type Placement struct {
	Probe  event.ProbeID
	PID    int
	Name   string    // BINARY:FUNCTION[+OFF], as it is shown
	Addr   arch.Addr // in the process
	Rung   breakpoint.Rung
	Reason string // why no faster method serves it
	Gap    string // which of its hits could not be counted; empty: all were
	Err    error  // why it could not be planted at all
	Hits   uint64
	Space  int  // the address space, by a number of the session's; an execve begins another
	Exit   bool // it is at a function's exit
}

// Hit is a stopped task at a probe. It is given to a ProbeSpec's Func and is valid only during the
// call. The call runs on the session's thread and keeps all other stops waiting: be quick, and call
// no method of the Session.
type Hit interface {
	PID() int             // the process's id
	TID() int             // the thread's id
	Probe() event.ProbeID // the probe that was hit
	Location() string     // the placement's name, BINARY:FUNCTION[+OFF]
	Addr() arch.Addr      // the probed address
	Registers() arch.Regs // the task's registers before the probed instruction
	// Arg returns the i-th integer argument at a function's entry, by the function's calling
	// convention, from 0. A Go string is two arguments, a pointer and a length. It is 0 if the
	// argument is in no register, and if the convention is not known; an event.Warning tells the
	// latter.
	Arg(i int) uint64
	// Calls returns the calling convention of the function.
	Calls() arch.Convention
	// Result returns the first word of what a function returns, at its exit. It is 0 if the
	// convention is not known or leaves results on the stack; an event.Warning tells that.
	Result() uint64
	// SetRegisters sets the task's registers before the probed instruction is executed. With
	// another PC the task goes on there instead.
	SetRegisters(r arch.Regs)
	// ReadMemory reads the process's memory as if there were no probes.
	ReadMemory(addr arch.Addr, buf []byte) error
	// WriteMemory writes the process's memory.
	WriteMemory(addr arch.Addr, data []byte) error
	// String returns the zero-terminated string at addr, up to 256 bytes.
	String(addr arch.Addr) string
	// Stop keeps the task stopped until Session.Resume, after an event.Stopped.
	Stop()
}
