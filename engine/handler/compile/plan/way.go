package plan

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Way describes where inlined code runs: between two instructions of the program, on the program's
// stack or on one of ptracer's.
type Way struct {
	Flags bool // the program uses its flags: they must be kept
	Skip  int  // bytes below the stack pointer that are the program's, a multiple of 16
	Stack int  // bytes available below those, 0: enough
	// Own, if it is used, makes code that needs a frame run on one of ptracer's stacks.
	Own OwnStack
	// Helpers is how much stack the helpers use, in bytes.
	Helpers int
	// Values of words of the frame that no register holds.
	PC     arch.Addr // the program's
	FuncIP uint64
	Cookie uint64
}

// OwnStack says how threads find ptracer's stacks. On amd64 each thread has one, of OwnStackSize
// bytes, and takes OwnStackLevel of it, several times if signal handlers interrupt it. On arm64
// each run takes a stack of OwnStackLevel bytes from a pool. A thread that finds none does not run
// the code, which is counted.
type OwnStack struct {
	Threads arch.Addr // amd64: the table of threads
	Pool    arch.Addr // arm64: PoolStacks of them, at a multiple of their size together
	Enter   arch.Addr // the code that the instruction set's Enter makes
}

// Sizes in bytes. OwnStackSaved is how much of the program's stack is used.
const (
	OwnStackSize  = 16 << 10
	OwnStackLevel = 4 << 10
	OwnStackSaved = 32
	PoolStacks    = 256 // a number, not bytes
)

// Used reports whether ptracer's stacks can be used.
func (o OwnStack) Used() bool { return o.Enter != 0 }

// OnOwn reports whether code that saves size bytes runs on one of ptracer's stacks. Code that fits
// on the program's stack does not.
func (w *Way) OnOwn(c *Code, size int) bool {
	return w.Own.Used() && (!c.Bare() || w.Skip+size > w.Stack)
}

// Bare reports whether code needs no frame and no aligned stack.
func (c *Code) Bare() bool { return c.Locals == 0 && c.Stack == 0 && c.Reads == 0 && !c.Calls }

// Check returns an error unless code can run on the way, with a frame of size bytes for the
// registers and other saved words.
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
