// Package jump makes jumps of sites. It proves that a jump is safe at a site (proof.go), writes the
// code that the jump leads to (code.go), and writes and removes jumps in a pause of all tasks of
// the space (pause.go), if no task will come back into the middle of what a jump displaces
// (resume.go).
//
// All of it runs on the session's thread. What is at a site is decided by the packages above.
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

// Jumps makes jumps of the sites of a session's processes, and traps of them again.
type Jumps struct {
	// Returning says that a process is coming back from another tracer.
	Returning bool

	loop   *tasks.Set
	remote *remote.Caller
	xol    *xol.XOL
	inproc *inproc.InProcess
	isa    arch.ISA
	// refusedAt is called for a site that the kernel does not let be patched, with the error.
	refusedAt func(*inferior.Process, *breakpoint.Site, error) error

	near    map[*inferior.Process][]*breakpoint.Site // sites that are to be planned with the next ones
	crowded map[*inferior.Process][]*breakpoint.Site // sites that have made room, and are traps as long as those that need it stay
}

// New returns a session's Jumps. refused is called for a site that the kernel does not let be
// patched.
func New(loop *tasks.Set, caller *remote.Caller, x *xol.XOL, in *inproc.InProcess, isa arch.ISA,
	refused func(*inferior.Process, *breakpoint.Site, error) error) *Jumps {
	return &Jumps{loop: loop, remote: caller, xol: x, inproc: in, isa: isa, refusedAt: refused,
		near: map[*inferior.Process][]*breakpoint.Site{}, crowded: map[*inferior.Process][]*breakpoint.Site{}}
}
