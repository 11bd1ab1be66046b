// Package remote has tasks of a traced program make system calls for the tracer, and maps
// memory by them. Each step leaves the program so that it goes on as before, should the tracer
// die.
package remote

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// Caller has tasks make system calls. All is called on the session's thread.
type Caller struct {
	loop        *tasks.Set
	isa         arch.ISA
	cantSuspend bool // seccomp filters can't be suspended
}

// New makes the caller of a session.
func New(loop *tasks.Set, isa arch.ISA) *Caller { return &Caller{loop: loop, isa: isa} }
