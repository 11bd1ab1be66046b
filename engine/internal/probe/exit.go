package probe

import (
	"github.com/ptracer/ptracer/arch"
)

// Knows is whether a convention says where arguments are, or at an exit the result.
func Knows(c arch.Convention, exit *ExitTest) bool {
	return c == arch.C || c == arch.GoRegisters || c == arch.GoStack && exit == nil
}

// ExitTest decides at a hit whether a jump leaves its function: an indirect
// one may be a switch, a conditional one may not be taken.
type ExitTest struct {
	Tail   bool // a jump to another function: the result is not there yet
	Always bool
	Ranges [][2]arch.Addr // of the function, in the process
}
