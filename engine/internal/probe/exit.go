package probe

import (
	"github.com/ptracer/ptracer/arch"
)

// Knows reports whether a calling convention says where a function's arguments are, or, at an exit,
// where its result is.
func Knows(c arch.Convention, exit *ExitTest) bool {
	return c == arch.C || c == arch.GoRegisters || c == arch.GoStack && exit == nil
}

// ExitTest decides at a hit whether a jump leaves its function. An indirect jump may be a switch,
// and a conditional jump may not be taken.
type ExitTest struct {
	Tail   bool           // the exit is a jump to another function, which has not computed the result yet
	Always bool           // each hit is an exit; Ranges says nothing then
	Ranges [][2]arch.Addr // where the function's code lies in the process, start and end
}
