// Package probe has the words of a probe: what a tracer asked for (Probe), an address that was found
// for it (Target), what it is at that address (Placement), and what a site serves (Consumers).
package probe

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Hook is what is done at a site of the engine's own. It reports whether it has resumed the task,
// or has set where the task goes on.
type Hook func(*inferior.Task, *breakpoint.Site) (moved bool, err error)
