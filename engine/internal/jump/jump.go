// Package jump makes jumps of sites: it proves that a jump is safe there (proof.go), writes what
// it leads to (code.go), and has it come and go in a pause of all tasks of the space (pause.go),
// where no task will come back to the middle of what it displaces (resume.go).
package jump

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// Jumps makes jumps of the sites of a session's processes, and traps again.
type Jumps struct {
	// Returning: a process comes back from another tracer at present.
	Returning bool

	loop   *tasks.Set
	remote *remote.Caller
	xol    *xol.XOL
	inproc *inproc.InProcess
	isa    arch.ISA
	// refusedAt is told of a site that the kernel does not let be patched, and why.
	refusedAt func(*inferior.Process, *breakpoint.Site, error) error

	near    map[*inferior.Process][]*breakpoint.Site // that have made room for others, just now
	crowded map[*inferior.Process][]*breakpoint.Site // that have, and are traps as long as those are there
}

// New is what makes a session's jumps. What refused does is done at sites that the kernel does
// not let be patched.
func New(loop *tasks.Set, caller *remote.Caller, x *xol.XOL, in *inproc.InProcess, isa arch.ISA,
	refused func(*inferior.Process, *breakpoint.Site, error) error) *Jumps {
	return &Jumps{loop: loop, remote: caller, xol: x, inproc: in, isa: isa, refusedAt: refused,
		near: map[*inferior.Process][]*breakpoint.Site{}, crowded: map[*inferior.Process][]*breakpoint.Site{}}
}
