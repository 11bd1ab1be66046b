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
	PC      arch.Addr // where a stopped task is
	Signal  int       // the signal that a stopped task is about to get, or 0
}

// Exit says how a process ended.
type Exit struct {
	Status int // the exit code
	Signal int // the signal that killed it, 0 if it exited
}

// Code returns the exit status that a shell would give: 128+n for signal n.
func (e Exit) Code() int {
	if e.Signal != 0 {
		return 128 + e.Signal
	}
	return e.Status
}

// Stats counts what a session has done.
type Stats struct {
	Stops  uint64 // stops that wait has told
	Hits   uint64 // stops that were hits
	Missed uint64 // events that were dropped because the client was too slow
	// Uncounted is how many hits behind jumps are in no count. They are of threads that share the
	// pointer to their own data, or of more threads than there are lines, which came while no
	// tracer was there.
	Uncounted uint64
	Pause     time.Duration // the longest time a task was stopped by ptracer while attaching, planting or detaching
}

// AsideOptions say how StepAside lets a process go.
type AsideOptions struct {
	// KeepJumps leaves jumps in the process, which go on counting. If the other tracer puts a
	// breakpoint into the middle of one, the program dies.
	KeepJumps bool
}

// Symbol says what is at an address of a process.
type Symbol struct {
	Binary   string    // file name of the object that the address is in
	Path     string    // the object's path, as the process sees it
	BuildID  string    // in hexadecimal, "" if it has none
	Function string    // "" if it is not known
	Offset   arch.Addr // bytes from the function's start, or from the mapping's
	// Start and End are those of the mapping; FileOffset is where the mapping begins in the file.
	Start, End arch.Addr
	FileOffset uint64
}
