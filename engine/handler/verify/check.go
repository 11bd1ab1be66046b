package verify

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Classes of refusals; structural errors are those of package program.
var (
	// ErrUnsafe is returned if the program could crash or corrupt something, or the verifier could
	// not prove that it does not.
	ErrUnsafe = errors.New("not safe")
	// ErrRights is returned for a call or store that the registration does not permit.
	ErrRights = errors.New("right missing")
	// ErrComplex is returned if the program runs too long, or takes too long to check.
	ErrComplex = errors.New("too complex")
)

// checker is the state of one Check.
type checker struct {
	p       *program.Program
	o       Options
	result  *Result
	joins   []bool // where paths join
	called  []bool // calls with a known map
	uses    uses
	seen    [][]*node // the states at earlier visits of joins, oldest first
	pending []*state
	states  int
	work    int // instructions followed
	ids     uint32
}

// workOfState is how many instructions may be followed for each of MaxStates.
const workOfState = 8

// Check proves that a program does nothing forbidden, with any input. It follows all paths, each
// with what is known there about registers and stack. A path ends where it reaches a place in a
// state that an earlier path covers. Errors are those of package program for an invalid program, or
// of type *Error.
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

// enter initializes the frame for a function that is about to start.
func (f *frame) enter(fn int) {
	f.fn = fn
	f.regs[program.R10] = value{kind: pointsStack, scalar: constant(0)}
}

// follow follows one path to its end.
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

// fork makes another path that continues from the present s.
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

// newID returns an id for values that are bound to each other.
func (c *checker) newID() uint32 {
	c.ids++
	return c.ids
}

// refuse returns the error for the present instruction of s. If reg is a register, the error says
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
