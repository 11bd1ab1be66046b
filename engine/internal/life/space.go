package life

import (
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// newSpace gives a process a new space for a program's memory. It has no sites.
func (x *Life) newSpace(p *inferior.Process, mem *ptrace.Memory) {
	mem.Note = &x.guard.Written
	space := &inferior.Space{Memory: mem, Users: 1}
	space.Table = clean.NewTable(x.isa, mem, x.remote.Room(space))
	p.Space, p.Allowed = space, nil
	clear(p.Modules)
	p.Unread = nil
}
