package verify

import (
	"math"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// forget makes the registers that calls clobber unreadable.
func (f *frame) forget() {
	for r := program.R0; r <= program.R5; r++ {
		f.regs[r] = value{}
	}
}

// stepFunc enters a function of the program.
func (c *checker) stepFunc(s *state) error {
	to, _ := c.p.Callee(s.pc)
	caller := s.top()
	f := &frame{ret: s.pc + 1}
	copy(f.regs[program.R1:], caller.regs[program.R1:program.R6])
	caller.forget()
	return c.into(s, f, to)
}

// into continues s in a function that starts at instruction to.
func (c *checker) into(s *state, f *frame, to int) error {
	if len(s.frames) == program.MaxFrames {
		return c.refuse(s, ErrUnsafe, -1, "calls that nest no deeper than %d", program.MaxFrames)
	}
	f.enter(c.p.FuncAt(to))
	f.regs[program.R10].frame = int8(len(s.frames))
	s.frames = append(s.frames, f)
	s.pc = to
	return nil
}

// stepExit ends a function or the program.
func (c *checker) stepExit(s *state) (over bool, err error) {
	if err := c.readable(s, program.R0); err != nil {
		return false, err
	}
	f, r0 := s.top(), *s.reg(program.R0)
	if f.loop != nil {
		return true, c.endBody(s)
	}
	last := len(s.frames) - 1
	if last > 0 {
		if r0.kind == pointsStack && int(r0.frame) == last {
			return false, c.refuse(s, ErrUnsafe, program.R0, "something that outlives the function")
		}
		s.frames = s.frames[:last]
		s.top().regs[program.R0] = r0
		s.pc = f.ret
		return false, nil
	}
	if len(s.refs) > 0 {
		return false, c.refuse(s, ErrUnsafe, -1, "all records that were reserved to be submitted or discarded, and one is not")
	}
	return true, c.isNumber(s, program.R0, "a number: an address would leak")
}

// loop is a call of bpf_loop on one path.
type loop struct {
	times   int // how often the body runs, at most
	longest int // run of the body
	fn, ret int // where the body starts; where the code behind the call starts
	passed  value
	entries []*state // the states in which the body started
}

// mostTimes is the largest count of bpf_loop, BPF_MAX_LOOPS.
const mostTimes = 1 << 23

// stepLoop follows a call of bpf_loop: no round at all, and rounds of the body. Each round starts
// with the caller's stack as the round before left it, until a round starts with nothing new. A
// number there that changes from round to round counts as unknown.
func (c *checker) stepLoop(s *state) (over bool, err error) {
	h := program.Helpers[program.FnLoop]
	k := call{checker: c, s: s, h: h}
	if err := k.args(); err != nil {
		return false, err
	}
	f := s.top()
	count := f.regs[program.R1].low(32)
	l := &loop{
		times: int(min(count.umax, mostTimes)), fn: int(f.regs[program.R2].index), ret: s.pc + 1,
		passed: f.regs[program.R3],
	}
	n := &node{parent: s.node, branches: 1, dist: s.steps, loop: l}
	s.node, s.steps = n, 0
	f.forget()
	if l.times > 0 {
		if err := c.enterBody(s.clone(), n); err != nil {
			return false, err
		}
	}
	f.regs[program.R0] = num(between(-4095, 0))
	s.pc++
	return false, nil
}

// mostRounds is how many rounds are followed one by one.
const mostRounds = 64

// enterBody starts a round, unless an earlier one started in the same state.
func (c *checker) enterBody(s *state, n *node) error {
	l := n.loop
	f := &frame{ret: l.ret, loop: n}
	f.regs[program.R1] = num(upTo(0, uint64(l.times-1)))
	f.regs[program.R2] = l.passed
	if err := c.into(s, f, l.fn); err != nil {
		return err
	}
	if k := len(l.entries); k > 0 {
		widen(l.entries[k-1], s)
	}
	c.clean(s)
	for _, e := range l.entries {
		if c.uses.covers(e, s) {
			return nil
		}
	}
	if len(l.entries) == mostRounds {
		return c.refuse(s, ErrComplex, -1, "a body that leaves the stack alike: after %d rounds it still changes", mostRounds)
	}
	l.entries = append(l.entries, s.clone())
	s.node, s.steps = &node{parent: n, branches: 1, inBody: true}, 0
	n.branches++
	c.push(s)
	return nil
}

// widen forgets numbers in the callers' stacks that have changed.
func widen(was, now *state) {
	for i, f := range now.frames[:len(now.frames)-1] {
		for k := range min(len(f.slots), len(was.frames[i].slots)) {
			a, b := &was.frames[i].slots[k], &f.slots[k]
			if b.n != 0 && b.val.kind == number && (a.n != b.n || a.val.scalar != b.val.scalar) {
				b.val = num(anything.low(8 * uint(b.n)))
			}
		}
	}
}

// endBody ends a round: the loop ends, or another round starts.
func (c *checker) endBody(s *state) error {
	f, n := s.top(), s.top().loop
	if r0 := s.reg(program.R0); r0.kind != number || r0.umax > 1 {
		return c.refuse(s, ErrUnsafe, program.R0, "0 to go on with the loop, or 1 to end it")
	}
	if !slices.Equal(s.refs, n.loop.entries[0].refs) {
		return c.refuse(s, ErrUnsafe, -1, "records reserved in a loop's body to be submitted or discarded there, and others not")
	}
	goesOn := f.regs[program.R0].umin == 0 && n.loop.times > 1
	s = s.clone()
	s.frames = s.frames[:len(s.frames)-1]
	s.node, s.steps, s.pc = n, 0, f.ret
	if goesOn {
		if err := c.enterBody(s.clone(), n); err != nil {
			return err
		}
	}
	s.top().regs[program.R0] = num(upTo(1, uint64(min(n.loop.times, math.MaxInt32))))
	n.branches++
	c.push(s)
	return nil
}
