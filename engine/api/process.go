package api

import (
	"time"

	"github.com/ptracer/ptracer/arch"
)

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

// AsideOptions say how StepAside lets a process go.
type AsideOptions struct {
	// KeepJumps leaves the probes that are jumps, which count on. A tracer that puts a
	// breakpoint inside of one ends the program by it.
	KeepJumps bool
}

// Symbol is what is known of an address of a process.
type Symbol struct {
	Binary   string    // file name of the object that it is in
	Path     string    // of the object, as the process sees it
	BuildID  string    // in hexadecimal, "" if it has none
	Function string    // "" if nobody knows
	Offset   arch.Addr // from the function's start, or the mapping's
	// The mapping: from Start to End, of the file from FileOffset.
	Start, End arch.Addr
	FileOffset uint64
}
