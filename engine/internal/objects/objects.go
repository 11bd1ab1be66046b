// Package objects knows the ELF objects of a session's processes: those that they have, and for
// handlers that ask later those that they have had.
package objects

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/symbols"
)

// Objects are the objects of a session's processes.
type Objects struct {
	Cache symbols.Cache
	// Past are objects of processes that were; nil where none are to be remembered.
	Past map[int][]*symbols.Module

	loop *tasks.Set
}

// New is a session's.
func New(loop *tasks.Set) *Objects { return &Objects{loop: loop} }

// At is the object at an address: of the process as it is, or as it was
// last.
func (o *Objects) At(pid int, addr arch.Addr) *symbols.Module {
	if p := o.loop.Procs[pid]; p != nil {
		for _, m := range p.Modules {
			if at := m.At(addr); at != nil {
				return at
			}
		}
	}
	past := o.Past[pid]
	for i := len(past) - 1; i >= 0; i-- {
		if at := past[i].At(addr); at != nil {
			return at
		}
	}
	return nil
}

// manyPast bounds what is remembered of one process: one that maps and unmaps
// libraries all the time.
const manyPast = 4096

// Forked implements inferior.Room.
func (o *Objects) Forked(parent, child *inferior.Process) {}

// Left implements inferior.Room: it keeps the objects of a process that ends, or gets a new program.
func (o *Objects) Left(p *inferior.Process, _ bool) {
	for _, m := range p.Modules {
		o.RememberModule(p.PID, m)
	}
}

func (o *Objects) RememberModule(pid int, m *symbols.Module) {
	if o.Past != nil && len(o.Past[pid]) < manyPast {
		o.Past[pid] = append(o.Past[pid], m)
	}
}
