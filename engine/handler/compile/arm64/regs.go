package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// reg is a register by its number, which is also its word in arch.Regs (struct user_pt_regs). 31 is
// the stack pointer or zero, depending on the instruction.
type reg uint32

const (
	goroutine reg = 28 // g, in Go's code
	lr        reg = 30
	sp        reg = 31
	zero      reg = 31
	none      reg = 0xff
)

// home has the machine registers of the program's registers: R1 to R5 where the procedure call
// standard passes arguments, R6 to R9 where it keeps values across calls, R0 as in the kernel's
// compiler. x18 belongs to the platform, Go programs' signal handlers read x28, and x29 keeps the
// program's value, so that frames can be walked meanwhile. R10 is a distance from sp.
var home = [program.R10]reg{7, 0, 1, 2, 3, 4, 19, 20, 21, 22}

// Registers that hold no value from one operation to the next. The last one is for calls, as in the
// standard.
const (
	scratch0 reg = 9
	scratch1 reg = 10
	scratch2 reg = 11
	scratch3 reg = 12
	callee   reg = 16
)

// words returns a set of registers as words.
func words(list ...reg) (w plan.Words) {
	for _, r := range list {
		w |= 1 << r
	}
	return w
}

// volatile has the registers that a helper may change, or that the call of it changes.
var volatile = words(0, 1, 2, 3, 4, 7, scratch0, scratch1, scratch2, scratch3, 16, 17, lr)

// holder returns the register that holds word w of the program's context, none if no register does.
func holder(w int) reg {
	if w < int(sp) {
		return reg(w)
	}
	return none
}
