package verify

import (
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// state is what is known at one place on one path.
type state struct {
	frames []*frame // the newest last
	refs   []uint32 // records that must still be submitted or discarded
	pc     int
	node   *node // the last place where paths joined
	steps  int   // instructions since that place
	total  int   // since the start; a loop's body counts once
	path   *turn
}

// turn is a taken jump.
type turn struct {
	insn   int
	before *turn
}

func (s *state) top() *frame { return s.frames[len(s.frames)-1] }

func (s *state) reg(r uint8) *value { return &s.top().regs[r] }

func (s *state) clone() *state {
	out := *s
	out.frames = make([]*frame, len(s.frames))
	for i, f := range s.frames {
		out.frames[i] = f.clone()
	}
	out.refs = slices.Clone(s.refs)
	return &out
}

// eachValue calls do for all values of a state.
func (s *state) eachValue(do func(v *value)) {
	for _, f := range s.frames {
		for r := range f.regs {
			do(&f.regs[r])
		}
		for i := range f.slots {
			if f.slots[i].n != 0 {
				do(&f.slots[i].val)
			}
		}
	}
}

// turns returns the newest jumps, newest last.
func (s *state) turns() []int {
	const most = 64
	var list []int
	for t := s.path; t != nil && len(list) < most; t = t.before {
		list = append(list, t.insn)
	}
	slices.Reverse(list)
	return list
}

// comparison compares two states, to find out whether the old one covers the new one.
type comparison struct {
	ids map[uint32]uint32 // ids of the old state, and the new state's ids for them
}

// same reports whether an id of the old state corresponds to one of the new state.
func (c *comparison) same(old, now uint32) bool {
	if old == 0 {
		return true
	}
	if was, ok := c.ids[old]; ok {
		return was == now
	}
	if now == 0 {
		return false
	}
	if c.ids == nil {
		c.ids = map[uint32]uint32{}
	}
	c.ids[old] = now
	return true
}

// covers reports whether everything that can happen after now is also possible after old, a state
// at the same instruction.
func (u *uses) covers(old, now *state) bool {
	if len(old.frames) != len(now.frames) || len(old.refs) != len(now.refs) {
		return false
	}
	var c comparison
	for i, f := range now.frames {
		g := old.frames[i]
		if f.fn != g.fn || f.ret != g.ret || f.loop != g.loop {
			return false
		}
		live, matter := u.live[now.pc], u.matter[now.pc]
		if i+1 < len(now.frames) {
			ret := now.frames[i+1].ret
			live, matter = u.live[ret]&^volatile, u.matter[ret]
		}
		if !c.frame(g, f, live, matter) {
			return false
		}
	}
	for i, r := range old.refs {
		if !c.same(r, now.refs[i]) {
			return false
		}
	}
	return true
}

func (c *comparison) frame(old, now *frame, live, matter regSet) bool {
	for r := uint8(0); r < program.R10; r++ {
		if live&bit(r) == 0 {
			continue
		}
		a, b := &old.regs[r], &now.regs[r]
		if matter&bit(r) == 0 && a.kind == number && b.kind == number {
			continue
		}
		if !c.value(a, b) {
			return false
		}
	}
	for i := range old.slots {
		if i >= len(now.slots) {
			if old.slots[i].init != 0 {
				return false
			}
		} else if !c.slot(&old.slots[i], &now.slots[i]) {
			return false
		}
	}
	return true
}

func (c *comparison) value(old, now *value) bool {
	if old.kind == unset {
		return true
	}
	if old.kind != now.kind || old.frame != now.frame || old.index != now.index || old.size != now.size {
		return false
	}
	if !old.scalar.covers(&now.scalar) {
		return false
	}
	if old.kind == number && old.isConst() {
		return true
	}
	return c.same(old.id, now.id)
}

func (c *comparison) slot(old, now *slot) bool {
	switch {
	case old.init&^now.init != 0:
		return false
	case now.n != 0 && now.val.isPointer() && (old.n == 0 || !old.val.isPointer()) && old.init != 0:
		return false // it was read as a number
	case old.n == 0 || old.init == 0:
		return true
	case old.val.kind == number && old.val.id == 0 && now.n == 0:
		v := num(upTo(0, 1<<(8*old.n)-1))
		return old.val.covers(&v.scalar)
	}
	return now.n == old.n && now.at == old.at && c.value(&old.val, &now.val)
}
