// Package event defines the events that tracers receive: what has happened to which task, and when.
// It imports arch and nothing else of the module.
package event

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Kind says what has happened.
type Kind uint8

const (
	Hit     Kind = iota + 1 // a probe that reports its hits was hit
	Stopped                 // a task has stopped and waits for Resume: a probe that stops, or Interrupt
	Signal                  // a signal is about to be delivered
	Fork                    // a process has a new child process Child (fork, vfork, clone)
	Clone                   // a process has a new thread Child
	Exec                    // a process runs a new program, Path
	Library                 // a process has mapped a new ELF object, Path
	Unload                  // an ELF object, Path, was unmapped
	Exit                    // a process ended: Status, or Signal
	Missed                  // Count events before this one were dropped: the consumer was too slow
	Warning                 // a request could not be met: Text
	Print                   // a handler has printed Text
	Aside                   // the session has detached from the process for another tracer, for a while: Text
	Back                    // it is traced again: Text
	Asked                   // another tracer asks for control of the process: Text names it
	Failed                  // the session has failed: its processes continue, without their probes: Text
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

// Event is one thing that has happened. Kind says which fields are set.
type Event struct {
	Kind     Kind
	Time     int64 // CLOCK_MONOTONIC, ns
	PID, TID int
	Probe    ProbeID         // Hit, Stopped by a probe
	Location string          // Hit: the place's name, BINARY:FUNCTION[+OFF]
	Addr     arch.Addr       // Hit, Stopped: the program counter
	NArgs    int             // Hit: how many of Args are set
	Args     [MaxArgs]uint64 // Hit: integer arguments; Result alone at an exit
	Calls    arch.Convention // Hit, Stopped by a probe: calling convention of the function there
	Strings  []string        // Hit: for each of Args the string that it points to, if requested
	Signal   int             // Signal; Stopped: the signal that the task is about to get, or 0; Exit: the signal that killed it, 0 if it exited
	Status   int             // Exit: exit code
	Child    int             // Fork, Clone
	Path     string          // Exec, Library, Unload
	Count    uint64          // Missed
	Text     string          // Warning, Print, Aside, Back, Asked, Failed
}
