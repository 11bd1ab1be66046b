// Package inproc has what the code behind jumps finds in a traced program: memory that tracer and
// program share (regions), counters, the table of the program's threads, and the code of helpers
// (libraries). A region is mapped once in a space, for all that use it.
//
// All of it runs on the session's thread, except the methods of Handler that implement api.Handler.
// Where jumps are is decided by the packages above.
package inproc

import (
	"os"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// InProcess has what a session shares with its processes.
type InProcess struct {
	// Resident says that the results are to stay when the session ends.
	Resident bool
	// WentAside says that forked children may add to counters that were made while no tracer was
	// there.
	WentAside bool
	// NewFile makes the files in which maps lie; nil: they lie in memory only.
	NewFile func() (*os.File, error)

	loop   *tasks.Set
	remote *remote.Caller
	isa    arch.ISA

	counters  []*handler.Counters // sets of counters of hits behind jumps
	spare     []*Tally            // the counters that no placement uses any more
	regions   map[*inferior.Space][]Region
	unshared  map[*inferior.Space]error // why a space can't have regions
	libraries map[*inferior.Space][]*Library
	newTasks  int      // how many tasks FewerThreadSlots was asked for
	lostHits  uint64   // hits that are in no count, from the session's end on
	lastSeal  lastSeal // the newest answer of seal
}

// New returns a session's InProcess. It has nothing in any process.
func New(loop *tasks.Set, caller *remote.Caller, isa arch.ISA) *InProcess {
	return &InProcess{loop: loop, remote: caller, isa: isa, regions: map[*inferior.Space][]Region{},
		unshared: map[*inferior.Space]error{}, libraries: map[*inferior.Space][]*Library{}}
}
