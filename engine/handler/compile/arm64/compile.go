// Package arm64 makes AArch64 machine code of a plan. Each operation becomes a
// few instructions; R0 to R9 live in registers of their own, all the time.
//
// The code is written several times over: what the first passes learn, which
// registers the whole of it changes, tells later ones where the context's
// registers still are, and distances tell which jumps are short.
//
// Only general registers are used, and no instruction beyond what every
// x86-64 has, unless the target says so. Pure; it imports package plan and
// what that imports.
package arm64

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// compiler is the state of one pass, and what it knows from the one before.
type compiler struct {
	asm
	*plan.Plan
	features plan.Feature

	// Of the pass before, over the whole of each function: the registers that
	// it changes for its caller, and whether flags change anywhere.
	clobbers []plan.Words
	flagged  bool

	// Of this pass.
	frames        []frame
	clobbered     []plan.Words // so far, of each function
	fn            int          // the function in work
	reads, writes plan.Words
	flags, calls  bool
}

// frame is a function's stack: from the stack pointer up, the words that loops
// keep (loopBytes), padding, the program's stack frame, registers kept for the
// caller, and the return address.
type frame struct {
	size int   // from the stack pointer to the end of the program's stack frame
	kept []reg // of R6 to R9
}

// maxPasses is how often the code is written at most; three are usual.
const maxPasses = 12

// Compile makes the code of p.
func Compile(p *plan.Plan) (*plan.Code, error) {
	c := &compiler{Plan: p, features: p.Target.Features, clobbers: make([]plan.Words, len(p.Funcs))}
	c.base = p.Target.Base
	c.frames = make([]frame, len(p.Funcs))
	for f := range p.Funcs {
		c.frames[f] = c.layout(f)
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	code := &plan.Code{
		Bytes: c.code, Clobbers: c.clobbered[0] | c.writes, Writes: c.writes, Reads: c.reads | c.writes,
		Flags: c.flags, Calls: c.calls, Stack: c.depth(0, 0),
	}
	if !p.Target.Called {
		code.Locals = c.frames[0].size
	}
	return code, nil
}

// settle writes the code until it stays the same: first with long jumps, until
// it is known which registers are changed, then with short ones.
func (c *compiler) settle() error {
	length, stable := -1, false
	for range maxPasses {
		if err := c.pass(); err != nil {
			return err
		}
		same := c.flagged == c.flags
		for f := range c.clobbers {
			same = same && c.clobbers[f] == c.clobbered[f]
		}
		copy(c.clobbers, c.clobbered)
		c.flagged = c.flags
		if stable && len(c.code) == length {
			return nil
		}
		stable = stable || same
		length = len(c.code)
		if stable {
			c.old = c.labels
		}
	}
	return errors.New("arm64: code does not settle")
}

// pass writes all the code once.
func (c *compiler) pass() error {
	c.code, c.jumps = c.code[:0], c.jumps[:0]
	c.labels = make([]int, len(c.Ops)+2*len(c.Funcs))
	for i := range c.labels {
		c.labels[i] = -1
	}
	c.clobbered = make([]plan.Words, len(c.Funcs))
	c.reads, c.writes = c.Reads, c.Writes
	c.flags, c.calls = false, false
	for f := range c.Funcs {
		if c.Funcs[f].Used {
			c.function(f)
		}
	}
	if !c.Target.Called {
		c.label(c.outLabel(0))
	}
	if !c.link() {
		return errors.New("arm64: a jump is too long")
	}
	return nil
}

// newLabel is a label that is not yet anywhere.
func (c *compiler) newLabel() int {
	c.labels = append(c.labels, -1)
	return len(c.labels) - 1
}

func (c *compiler) funcLabel(f int) int { return len(c.Ops) + 2*f }
func (c *compiler) outLabel(f int) int  { return len(c.Ops) + 2*f + 1 }

// function writes function f. The program itself, if it is not called, has no
// beginning and ends by reaching the end of the code.
func (c *compiler) function(f int) {
	c.fn = f
	c.label(c.funcLabel(f))
	called := f > 0 || c.Target.Called
	if called {
		c.enter()
	}
	if f == 0 && c.Context {
		c.address(home[program.R1], plan.Mem{Base: plan.BaseFrame})
	}
	last := c.last(f)
	for i := c.Funcs[f].Start; i < c.Funcs[f].End; i++ {
		c.label(i)
		if c.Ops[i].Kind == plan.Exit && i == last && (called || c.alone()) {
			continue // goes on with the end of the function
		}
		c.operation(i)
	}
	if called {
		c.label(c.outLabel(f))
		c.leave()
	}
}

// last is the last operation of function f that does something.
func (c *compiler) last(f int) int {
	i := c.Funcs[f].End - 1
	for i > c.Funcs[f].Start && c.Ops[i].Kind == plan.Nop {
		i--
	}
	return i
}

// alone is whether the program is its only function.
func (c *compiler) alone() bool {
	for f := range c.Funcs[1:] {
		if c.Funcs[f+1].Used {
			return false
		}
	}
	return true
}

// exit leaves the function.
func (c *compiler) exit() { c.jump(always, c.outLabel(c.fn)) }
