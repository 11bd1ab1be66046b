package plan

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Way is where inlined code runs: between two instructions of the program, on
// its stack, or on one of ours.
type Way struct {
	Flags bool // the program's flags are alive: they are kept
	Skip  int  // bytes below the stack pointer that are the program's, a multiple of 16
	Stack int  // how many there are below those, 0: enough
	// Own, if it says something, has code that needs a frame run on a stack of the
	// thread's own.
	Own OwnStack
	// Helpers is how many bytes of stack the helpers use.
	Helpers int
	// What words of the frame are that no register holds.
	PC     arch.Addr // the program's
	FuncIP uint64
	Cookie uint64
}

// OwnStack says how threads find stacks of ours. On amd64 each has one, of
// OwnStackSize bytes, and takes OwnStackLevel of it, more than once if a signal's
// handler interrupts it. On arm64 each time takes one of OwnStackLevel bytes, of a
// pool. Who finds none does not run the code, which is counted.
type OwnStack struct {
	Threads arch.Addr // amd64: the table of threads
	Pool    arch.Addr // arm64: PoolStacks of them, at a multiple of their size together
	Enter   arch.Addr // what the instruction set's Enter makes
}

// Of OwnStack, bytes. OwnStackSaved is what is taken of the program's.
const (
	OwnStackSize  = 16 << 10
	OwnStackLevel = 4 << 10
	OwnStackSaved = 32
	PoolStacks    = 256 // a number, not bytes
)

// Used is whether there is one.
func (o OwnStack) Used() bool { return o.Enter != 0 }

// OnOwn is whether code that keeps size bytes runs on a stack of ours: as little as
// the program's has room for does not.
func (w *Way) OnOwn(c *Code, size int) bool {
	return w.Own.Used() && (!c.Bare() || w.Skip+size > w.Stack)
}

// Bare is whether code needs no frame, nor a stack that is aligned.
func (c *Code) Bare() bool { return c.Locals == 0 && c.Stack == 0 && c.Reads == 0 && !c.Calls }

// Check is whether code can run on the way, with a frame of size bytes: the
// registers and what else the way in keeps.
func (w *Way) Check(c *Code, size int) error {
	need, most := w.Skip+size+c.Stack, w.Stack
	if w.OnOwn(c, size) {
		need, most = size+c.Stack, OwnStackLevel-OwnStackSaved
	}
	if c.Calls || c.Claims {
		need += w.Helpers
	}
	switch {
	case c.Writes != 0:
		return failure.Unsupportedf("it changes registers")
	case most > 0 && need > most:
		return failure.Unsupportedf("it needs %d bytes of stack, there may be %d", need, most)
	}
	return nil
}
