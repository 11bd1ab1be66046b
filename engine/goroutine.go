package engine

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
)

// Goroutines that Go's runtime has preempted by a signal come back to where that
// was, on any thread, later: in the middle of what a jump is to displace, too.
// The runtime does that to no goroutine in the stack check that most functions
// begin with (cmd/internal/obj, StartUnsafePoint); of others, the goroutines'
// stacks are looked at.

// mayPark reports whether goroutines may be parked in the middle of what a jump of a
// module displaces.
func mayPark(m *symbols.Module, up *breakpoint.Upgrade) bool {
	return m != nil && m.File.IsGo() && up.Splits() && !goruntime.BeginsWithCheck(up.Displaced())
}
