package verify

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Classes of refusals; structural ones are those of package program.
var (
	// ErrUnsafe is what could crash or corrupt something, or could not be
	// shown not to.
	ErrUnsafe = errors.New("not safe")
	// ErrRights is a call or store that the registration does not allow.
	ErrRights = errors.New("right missing")
	// ErrComplex is a program that runs too long, or that takes too long to
	// check.
	ErrComplex = errors.New("too complex")
)

// checker is the state of one Check.
type checker struct {
	p       *program.Program
	o       Options
	result  *Result
	joins   []bool // where paths join
	called  []bool // calls whose map is known
	uses    uses
	seen    [][]*node // what was known at joins before, oldest first
	pending []*state
	states  int
	work    int // instructions followed
	ids     uint32
}

// workOfState is how many instructions may be followed for each of MaxStates.
const workOfState = 8

// Check proves that a program does nothing that it may not, whatever it meets.
// It follows all paths, each with what is known there about registers and
// stack; where a path gets to a place with nothing that an earlier one did not
// allow for, it ends. Errors are those of package program for what is no valid
// program, or of type *Error.
func Check(p *program.Program, o Options) (*Result, error) {
	c := &checker{p: p, o: o, result: &Result{Program: p, Context: o.Context}}
	if err := c.structure(); err != nil {
		return nil, err
	}
	c.result.Facts = make([]Fact, len(p.Insns))
	for i := range c.result.Facts {
		c.result.Facts[i].Map = -1
	}
	c.called = make([]bool, len(p.Insns))
	c.result.Stack = make([]int, len(p.Funcs))
	c.uses = findUses(p)
	c.seen = make([][]*node, len(p.Insns))
	if err := c.explore(); err != nil {
		return nil, err
	}
	return c.result, nil
}

func (c *checker) explore() error {
	root := &node{branches: 1}
	f := &frame{ret: -1}
	f.enter(0)
	f.regs[program.R1] = value{kind: pointsCtx, scalar: constant(0)}
	c.pending = append(c.pending, &state{frames: []*frame{f}, node: root})
	for len(c.pending) > 0 {
		s := c.pending[len(c.pending)-1]
		c.pending = c.pending[:len(c.pending)-1]
		if err := c.follow(s); err != nil {
			return err
		}
	}
	if c.result.Steps = root.cost; root.cost > c.o.MaxSteps {
		return c.refuseAt(0, ErrComplex, "a run may take more than %d instructions", c.o.MaxSteps)
	}
	return nil
}

// enter makes the frame that of a function that is about to start.
func (f *frame) enter(fn int) {
	f.fn = fn
	f.regs[program.R10] = value{kind: pointsStack, scalar: constant(0)}
}

// follow goes along one path to its end.
func (c *checker) follow(s *state) error {
	for {
		i := s.pc
		if c.joins[i] {
			if over, err := c.join(s); over || err != nil {
				return err
			}
		}
		if err := c.budget(s); err != nil {
			return err
		}
		c.result.Facts[i].Reached = true
		over, err := c.step(s)
		if err != nil {
			return err
		}
		if over {
			s.node.end(s.steps)
			return nil
		}
	}
}

func (c *checker) budget(s *state) error {
	s.steps++
	s.total++
	c.work++
	switch {
	case s.total > c.o.MaxSteps:
		return c.refuse(s, ErrComplex, -1, "an end: after %d instructions there is none", c.o.MaxSteps)
	case c.work > workOfState*c.o.MaxStates || c.states > c.o.MaxStates:
		return c.refuse(s, ErrComplex, -1, "fewer different paths: after %d instructions and %d states there are more", c.work-1, c.states)
	}
	return nil
}

// fork lets another path go on from what s is now.
func (c *checker) fork(s *state) *state {
	out := s.clone()
	s.node.branches++
	c.push(out)
	return out
}

func (c *checker) push(s *state) {
	c.states++
	c.pending = append(c.pending, s)
}

// newID is for values that are bound to each other.
func (c *checker) newID() uint32 {
	c.ids++
	return c.ids
}

// refuse is the error for the instruction that s is at. With a register it says
// what is known about it.
func (c *checker) refuse(s *state, class error, reg int, needed string, args ...any) error {
	e := c.refuseAt(s.pc, class, needed, args...)
	e.Path = s.turns()
	if reg >= 0 {
		e.Reg, e.Known = reg, s.top().regs[reg].text(c.p)
	}
	return e
}

func (c *checker) refuseAt(i int, class error, needed string, args ...any) *Error {
	return &Error{Program: c.p.Name, Insn: i, Text: c.p.Text(i), Reg: -1, Needed: fmt.Sprintf(needed, args...), Err: class}
}
