package breakpoint

import "errors"

// Pause proves that the tasks of a space have been halted. Each change of more than one byte of
// code requires a Pause, since a running task could see part of the change. Only the package that
// halts tasks makes one (internal/check); the zero value proves nothing.
type Pause struct {
	made  bool
	stuck int
}

// NewPause makes a pause in which all tasks are halted except stuck of them.
func NewPause(stuck int) Pause { return Pause{true, stuck} }

// Stuck is how many tasks are not halted: those that wait in the kernel and can't be halted.
func (p Pause) Stuck() int { return p.stuck }

// errRunning is returned for a change of code for which all tasks must stand.
var errRunning = errors.New("not all tasks stand")

// all returns an error unless all tasks stand.
func (p Pause) all() error {
	if !p.made || p.stuck > 0 {
		return errRunning
	}
	return nil
}

// some returns an error unless the tasks that can be halted stand.
func (p Pause) some() error {
	if !p.made {
		return errRunning
	}
	return nil
}
