// Package probe has the types of a probe: what a tracer asked for (Probe), an address that was
// found for it (Target), the probe at that address of a process (Placement), and the placements of
// a site (Consumers). A variable of type Target is called a spot.
//
// The package decides nothing and changes no process. Its values belong to the session's thread.
package probe

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Hook is the function that runs when a task comes to a site of the engine's own. It reports
// whether it has let the task go on, or has set where the task goes on.
type Hook func(*inferior.Task, *breakpoint.Site) (moved bool, err error)
