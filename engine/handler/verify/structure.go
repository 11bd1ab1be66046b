package verify

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Default bounds of Options.
const (
	maxInsns  = 4096
	maxSteps  = 1 << 20
	maxStates = 1 << 18
)

// structure checks the properties that need no execution, and finds the places where paths join.
func (c *checker) structure() error {
	if err := c.options(); err != nil {
		return err
	}
	if err := program.Validate(c.p); err != nil {
		return err
	}
	c.joins = make([]bool, len(c.p.Insns))
	for f := range c.p.Funcs {
		if err := c.reach(f); err != nil {
			return err
		}
	}
	return c.nesting()
}

// options sets defaults, and refuses invalid values.
func (c *checker) options() error {
	for _, o := range []struct {
		value  *int
		preset int
	}{{&c.o.MaxInsns, maxInsns}, {&c.o.MaxSteps, maxSteps}, {&c.o.MaxStates, maxStates}} {
		if *o.value <= 0 {
			*o.value = o.preset
		}
	}
	if c.p == nil {
		return fmt.Errorf("%w: there is none", program.ErrInvalid)
	}
	want, err := program.ContextOf(c.o.Context.Arch)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", c.p.Name, &failure.Unsupported{Err: err})
	case c.o.Context.Size != want.Size:
		return fmt.Errorf("%s: %w: a context of %d bytes, on %s it has %d", c.p.Name, program.ErrInvalid, c.o.Context.Size, want.Arch, want.Size)
	case len(c.p.Insns) > c.o.MaxInsns:
		return fmt.Errorf("%s: %w: %d instructions, %d are allowed", c.p.Name, ErrComplex, len(c.p.Insns), c.o.MaxInsns)
	}
	return nil
}

// next returns the instructions that may follow instruction i in its function, -1 for none.
func next(p *program.Program, i int) (fall, to int) {
	in := p.Insns[i]
	switch {
	case in.IsExit():
		return -1, -1
	case in.Always():
		return -1, in.Target(i)
	case in.IsJump():
		return i + 1, in.Target(i)
	case in.Wide():
		return i + 2, -1
	}
	return i + 1, -1
}

// reach refuses instructions of function f that no path leads to.
func (c *checker) reach(f int) error {
	start, end := c.p.Funcs[f].Start, c.p.End(f)
	seen := make([]bool, end-start)
	for todo := []int{start}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i < 0 || seen[i-start] {
			continue
		}
		seen[i-start] = true
		fall, to := next(c.p, i)
		if to >= 0 {
			c.joins[to] = true
		}
		if in := c.p.Insns[i]; in.IsCall() && (in.Src == program.CallFunc || in.Imm == program.FnLoop) {
			c.joins[fall] = true
		}
		todo = append(todo, to, fall)
	}
	for i := start; i < end; i++ {
		if !seen[i-start] {
			return c.refuseAt(i, ErrUnsafe, "no path leads here: take it out")
		}
		if c.p.Insns[i].Wide() {
			i++
		}
	}
	return nil
}

// nesting refuses recursion and functions that are never called, and finds how deep calls nest.
func (c *checker) nesting() error {
	const open = -1
	depth := make([]int, len(c.p.Funcs)) // 0: not visited
	var look func(f int) error
	look = func(f int) error {
		depth[f] = open
		deepest := 0
		for i := c.p.Funcs[f].Start; i < c.p.End(f); i++ {
			if start, ok := c.p.Callee(i); ok {
				to := c.p.FuncAt(start)
				if depth[to] == open {
					return c.refuseAt(i, ErrUnsafe, "function %s calls itself in the end; no function may", c.p.Funcs[to].Name)
				}
				if depth[to] == 0 {
					if err := look(to); err != nil {
						return err
					}
				}
				deepest = max(deepest, depth[to])
			}
			if c.p.Insns[i].Wide() {
				i++
			}
		}
		depth[f] = deepest + 1
		return nil
	}
	if err := look(0); err != nil {
		return err
	}
	for f, d := range depth {
		if d == 0 {
			return c.refuseAt(c.p.Funcs[f].Start, ErrUnsafe, "function %s is never called: take it out", c.p.Funcs[f].Name)
		}
	}
	if c.result.Depth = depth[0]; c.result.Depth > program.MaxFrames {
		return c.refuseAt(0, ErrUnsafe, "calls nest %d deep, %d is allowed", c.result.Depth, program.MaxFrames)
	}
	return nil
}
