// Package event holds the values told to tracers: what happened to which task,
// and when. It imports arch and nothing else of the module.
package event

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Kind says what happened.
type Kind uint8

const (
	Hit     Kind = iota + 1 // a probe that tells was hit
	Stopped                 // a task stopped and waits for Resume: a probe that stops, or Interrupt
	Signal                  // a signal is about to be delivered
	Fork                    // a process has a new child process Child (fork, vfork, clone)
	Clone                   // a process has a new thread Child
	Exec                    // a process runs a new program, Path
	Library                 // a process has mapped a new ELF object, Path
	Unload                  // an ELF object, Path, is gone
	Exit                    // a process ended: Status, or Signal
	Missed                  // Count events before this one were dropped: the consumer was too slow
	Warning                 // something asked for could not be had: Text
	Print                   // a handler printed Text
	Aside                   // the process is let go for another tracer, for a while: Text
	Back                    // it is traced again: Text
	Asked                   // another tracer asks for control of the process: Text says who
	Failed                  // the session could not go on: its processes do, without their probes: Text
)

var kindNames = [...]string{"?", "hit", "stopped", "signal", "fork", "clone", "exec", "library", "unload", "exit", "missed", "warning", "print", "aside", "back", "asked", "failed"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MaxArgs is how many arguments an event can carry.
const MaxArgs = 8

// ProbeID names a probe within a session.
type ProbeID int

// Event is one thing that happened. Which fields mean something depends on Kind.
type Event struct {
	Kind     Kind
	Time     int64 // CLOCK_MONOTONIC, ns
	PID, TID int
	Probe    ProbeID         // Hit, Stopped by a probe
	Location string          // Hit: the place's name, BINARY:FUNCTION[+OFF]
	Addr     arch.Addr       // Hit, Stopped: the program counter
	NArgs    int             // Hit: how many of Args are set
	Args     [MaxArgs]uint64 // Hit: integer arguments; Result alone at an exit
	Calls    arch.Convention // Hit, Stopped by a probe: how the function there is called
	Strings  []string        // Hit: for each of Args the string it points to, where asked for
	Signal   int             // Signal; Stopped: that it is about to get, or 0; Exit: what killed it, 0 if it exited
	Status   int             // Exit: exit code
	Child    int             // Fork, Clone
	Path     string          // Exec, Library, Unload
	Count    uint64          // Missed
	Text     string          // Warning, Print, Aside, Back, Asked, Failed
}
