// Package xol knows tasks that stand in code of ptracer's: in slots, where displaced instructions are
// executed out of line, and behind jumps. It shows them where the program would be, steps
// them, and brings them out.
package xol

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// XOL is the execution out of line of a session. All is called on the session's thread.
type XOL struct {
	loop  *tasks.Set
	guard *guard.Guard
	isa   arch.ISA
}

// New makes that of a session.
func New(loop *tasks.Set, g *guard.Guard, isa arch.ISA) *XOL { return &XOL{loop, g, isa} }
