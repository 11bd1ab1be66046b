package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// node is a place where a path was when others might join it. Nodes are a
// tree: what is found out about the way from here to the end counts for those
// before, once all branches ended.
type node struct {
	parent   *node
	branches int // paths that are not at their end
	dist     int // instructions from the parent to here
	longest  int // from here, on any path that ended
	cost     int // the same, all of them ended
	state    *state
	loop     *loop // of a call of bpf_loop; the rest is then about what comes behind it
	inBody   bool  // the parent is a loop, and this is where its body starts
}

// total is the cost of all that ended.
func (n *node) total() int {
	if n.loop == nil {
		return n.longest
	}
	return min(n.longest+n.loop.times*n.loop.longest, endless)
}

// endless is more than any bound, and can be multiplied.
const endless = 1 << 31

// end tells that a path ended, so many instructions behind n.
func (n *node) end(steps int) {
	n.longest = min(max(n.longest, steps), endless)
	for n.branches--; n.branches == 0; n.branches-- {
		n.cost = n.total()
		up := n.parent
		if up == nil {
			return
		}
		if n.inBody {
			up.loop.longest = max(up.loop.longest, n.cost)
		} else {
			up.longest = min(max(up.longest, n.dist+n.cost), endless)
		}
		n = up
	}
}

// above is whether n is on the way to m.
func (n *node) above(m *node) bool {
	for ; m != nil; m = m.parent {
		if m == n {
			return true
		}
	}
	return false
}

const (
	// keptStates is how many are compared with at one place.
	keptStates = 40
	// nearStates is how many instructions are between those that are kept.
	nearStates = 8
)

// join tells whether what s knows was there before, so that its path is at
// its end.
func (c *checker) join(s *state) (over bool, err error) {
	c.clean(s)
	list := c.seen[s.pc]
	for k := len(list) - 1; k >= 0; k-- {
		n := list[k]
		if !c.uses.covers(n.state, s) {
			continue
		}
		if n.branches == 0 {
			s.node.end(s.steps + n.cost)
			return true, nil
		}
		if c.uses.covers(s, n.state) && n.above(s.node) {
			return false, c.refuse(s, ErrComplex, -1, "a loop that ends: it is back here with nothing known to be different")
		}
	}
	if s.steps < nearStates && len(list) > 0 {
		return false, nil
	}
	n := &node{parent: s.node, branches: 1, dist: s.steps, state: s.clone()}
	n.state.path = nil
	if len(list) == keptStates {
		list[0].state = nil
		list = append(list[:0], list[1:]...)
	}
	c.seen[s.pc] = append(list, n)
	c.states++
	s.node, s.steps = n, 0
	return false, nil
}

// clean forgets what nobody reads any more, and ids that bind nothing.
func (c *checker) clean(s *state) {
	live := c.uses.live[s.pc]
	top := s.top()
	for r := uint8(0); r < program.R10; r++ {
		if live&bit(r) == 0 {
			top.regs[r] = value{}
		}
	}
	var once, more idSet
	s.eachValue(func(v *value) {
		if v.kind == number && v.id != 0 && once.add(v.id) {
			more.add(v.id)
		}
	})
	s.eachValue(func(v *value) {
		if v.kind == number && v.id != 0 && !more.has(v.id) {
			v.id = 0
		}
	})
}

// idSet is a small set of ids; most states have a few.
type idSet struct{ list []uint32 }

func (s *idSet) has(id uint32) bool {
	for _, i := range s.list {
		if i == id {
			return true
		}
	}
	return false
}

// add tells whether it was there.
func (s *idSet) add(id uint32) bool {
	if s.has(id) {
		return true
	}
	s.list = append(s.list, id)
	return false
}
