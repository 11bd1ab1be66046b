package breakpoint

import "errors"

// Pause says that the tasks of a space have been halted: it is asked for by all that changes
// more than one byte of code, which a task that runs could see in part. Only the package that
// halts tasks makes one (internal/check); its zero value is none.
type Pause struct {
	made  bool
	stuck int
}

// NewPause makes a pause in which all tasks but a number of them stand.
func NewPause(stuck int) Pause { return Pause{true, stuck} }

// Stuck is how many tasks do not stand: those that wait in the kernel and can't be halted.
func (p Pause) Stuck() int { return p.stuck }

// errRuns is returned for a change of code for which all tasks must stand.
var errRuns = errors.New("not all tasks stand")

// all returns an error unless all tasks stand.
func (p Pause) all() error {
	if !p.made || p.stuck > 0 {
		return errRuns
	}
	return nil
}

// some returns an error unless the tasks that can be halted stand.
func (p Pause) some() error {
	if !p.made {
		return errRuns
	}
	return nil
}
