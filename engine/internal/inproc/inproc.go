// Package inproc is what handlers and counters behind jumps find in a traced program: memory that
// the tracer shares with it, counters, the table of its threads, and the code of helpers. A region
// is mapped once in a space, for all that use it.
package inproc

import (
	"os"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// InProcess is what a session has in the processes.
type InProcess struct {
	// Resident: what is found out is to stay when the session ends.
	Resident bool
	// WentAside: there may be forked children, made while nothing traced them, that count on.
	WentAside bool
	// NewFile makes the files that maps lie in; nil: they lie in memory.
	NewFile func() (*os.File, error)

	loop   *tasks.Set
	remote *remote.Caller
	isa    arch.ISA

	counters  []*handler.Counters // of hits behind jumps
	spare     []*Tally            // of these, those that are not used any more
	regions   map[*inferior.Space][]Region
	unshared  map[*inferior.Space]error // why there can't be any
	libraries map[*inferior.Space][]*Library
	newTasks  int    // that came when few lines were left
	lostHits  uint64 // that are in no count, at the session's end
	lastSeal  lastSeal
}

// New is what a session has in processes at its beginning: nothing.
func New(loop *tasks.Set, caller *remote.Caller, isa arch.ISA) *InProcess {
	return &InProcess{loop: loop, remote: caller, isa: isa, regions: map[*inferior.Space][]Region{},
		unshared: map[*inferior.Space]error{}, libraries: map[*inferior.Space][]*Library{}}
}
