package life

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

func newTable(isa arch.ISA, mem *ptrace.Memory, m breakpoint.Mapper) *breakpoint.Table {
	return breakpoint.New(isa, mem, m)
}

func (x *Life) newSpace(p *inferior.Process, mem *ptrace.Memory) {
	mem.Note = &x.guard.Written
	space := &inferior.Space{Memory: mem, Users: 1}
	space.Table = newTable(x.isa, mem, x.remote.Room(space))
	p.Space, p.Allowed = space, nil
	clear(p.Modules)
	p.Unread = nil
}

// WithoutGuard leaves halted tasks, and the signal handlers of their processes,
// as they are without a tracer.
func (x *Life) WithoutGuard(space *inferior.Space, ps []*inferior.Process) error {
	space.Skips, space.Guard.Watches = nil, false
	if err := x.guard.Swallow(space, false); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := x.leaveHere(t); err != nil && !ptrace.IsGone(err) {
				return err
			}
		}
	}
	if err := x.inproc.NameOther(space); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := x.guard.Remove(t); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// Traps are a space's sites that are no jumps.
func (x *Life) Traps(space *inferior.Space) (list []*breakpoint.Site) {
	for _, site := range space.Table.Sites() {
		if !site.Jumps() {
			list = append(list, site)
		}
	}
	return list
}
