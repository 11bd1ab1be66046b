// Package event defines the events that tracers receive: what has happened to which task, and when.
// An event has a body, of a type for each kind of event. A Queue passes events on, and copies hits.
// The package imports arch and nothing else of the module.
package event

import "fmt"

// Kind says what has happened. Each kind has a body type of the same name. The numbers are those of
// the arbiter's protocol.
type Kind uint8

const (
	KindHit Kind = iota + 1
	KindStopped
	KindSignal
	KindFork
	KindClone
	KindExec
	KindLibrary
	KindUnload
	KindExit
	KindDropped
	KindWarning
	KindPrint
	KindReleased
	KindReattached
	KindControlRequested
	KindFailed

	kinds // how many numbers there are, with 0
)

// kindNames are the words of --json, which stay as they are when a kind gets another name here.
var kindNames = [kinds]string{0: "?", KindHit: "hit", KindStopped: "stopped", KindSignal: "signal", KindFork: "fork",
	KindClone: "clone", KindExec: "exec", KindLibrary: "library", KindUnload: "unload", KindExit: "exit",
	KindDropped: "missed", KindWarning: "warning", KindPrint: "print", KindReleased: "aside", KindReattached: "back",
	KindControlRequested: "asked", KindFailed: "failed"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ProbeID names a probe within a session.
type ProbeID int

// Event is one thing that has happened. A consumer that is not the only one does not change the
// body.
type Event struct {
	Time     int64 // CLOCK_MONOTONIC, ns
	PID, TID int
	Body     Body // what has happened
}

// Kind returns the kind of the event's body, 0 if there is no body.
func (e *Event) Kind() Kind {
	if e.Body == nil {
		return 0
	}
	return e.Body.Kind()
}
