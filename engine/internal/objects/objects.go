// Package objects knows the ELF objects of a session's processes: those that they have now and, for
// handlers that ask later, those that they have had. It reads /proc and files, and changes no
// process.
package objects

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/symbols"
)

// Objects has the objects of a session's processes.
type Objects struct {
	Cache symbols.Cache // of opened files
	// Past has the objects that processes have had, by process id, oldest first. nil: none are
	// kept.
	Past map[int][]*symbols.Module

	loop *tasks.Set
}

// New returns a session's Objects.
func New(loop *tasks.Set) *Objects { return &Objects{loop: loop} }

// At returns the object at an address of a process, the newest first; nil if there is none. It
// finds objects of processes that have ended, too.
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

// manyPast is how many past objects of one process are kept at most: a program may map and unmap
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

// RememberModule keeps an object that a process has unmapped.
func (o *Objects) RememberModule(pid int, m *symbols.Module) {
	if o.Past != nil && len(o.Past[pid]) < manyPast {
		o.Past[pid] = append(o.Past[pid], m)
	}
}
