// Package guard is the SIGTRAP handler in a traced program by which that outlives its tracer,
// and what hides it from the program: the program's own handler, and the calls that ask for it.
package guard

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// Guard looks after the guards of a session's processes. All is called on the session's thread.
type Guard struct {
	// Written: something was written into a space; see Settle.
	Written bool

	loop   *tasks.Set
	remote *remote.Caller
	noted  *inferior.Task // of which the guard has been told what it is to have
}

// New makes the guard of a session.
func New(loop *tasks.Set, caller *remote.Caller) *Guard {
	return &Guard{loop: loop, remote: caller}
}
