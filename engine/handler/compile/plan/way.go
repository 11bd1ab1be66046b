package plan

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Way is where inlined code runs: between two instructions of the program, on
// its stack.
type Way struct {
	Flags bool // the program's flags are alive: they are kept
	Skip  int  // bytes below the stack pointer that are the program's, a multiple of 16
	Stack int  // how many there are below those, 0: enough
	// Helpers is how many bytes of stack the helpers use.
	Helpers int
	// What words of the frame are that no register holds.
	PC     arch.Addr // the program's
	FuncIP uint64
	Cookie uint64
}

// Bare is whether code needs no frame, nor a stack that is aligned.
func (c *Code) Bare() bool { return c.Locals == 0 && c.Stack == 0 && c.Reads == 0 && !c.Calls }

// Check is whether code can run on the way, with a frame of size bytes: the
// registers and what else the way in keeps.
func (w *Way) Check(c *Code, size int) error {
	need := w.Skip + size + c.Stack
	if c.Calls || c.Claims {
		need += w.Helpers
	}
	switch {
	case c.Writes != 0:
		return fmt.Errorf("%w: it changes registers", ErrUnsupported)
	case w.Stack > 0 && need > w.Stack:
		return fmt.Errorf("%w: it needs %d bytes of stack, there may be %d", ErrUnsupported, need, w.Stack)
	}
	return nil
}
