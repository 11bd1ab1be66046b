package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// node is a state of a path at a place where later paths may join it. Nodes form a tree: costs of
// the way from here to the end are added to the parents once all branches have ended.
type node struct {
	parent   *node
	branches int // paths that have not ended
	dist     int // instructions from the parent to here
	longest  int // instructions from here on, on any path that has ended
	cost     int // the same, when all of them have ended
	state    *state
	loop     *loop // of a call of bpf_loop; the other fields then describe the code behind it
	inBody   bool  // the parent is a loop, and its body starts here
}

// total is the cost of all paths that have ended.
func (n *node) total() int {
	if n.loop == nil {
		return n.longest
	}
	return min(n.longest+n.loop.times*n.loop.longest, endless)
}

// endless is above any bound, and small enough to be multiplied.
const endless = 1 << 31

// end records that a path has ended, steps instructions behind n.
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

// above reports whether n is on the path to m.
func (n *node) above(m *node) bool {
	for ; m != nil; m = m.parent {
		if m == n {
			return true
		}
	}
	return false
}

const (
	// keptStates is how many states are kept for comparison at one place.
	keptStates = 40
	// nearStates is how many instructions lie between two kept states.
	nearStates = 8
)

// join reports whether an earlier state covers s, so that its path ends.
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

// clean forgets values that are not read any more, and ids that only one value has.
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

// idSet is a small set of ids; most states have few.
type idSet struct{ list []uint32 }

func (s *idSet) has(id uint32) bool {
	for _, i := range s.list {
		if i == id {
			return true
		}
	}
	return false
}

// add adds an id, and reports whether the set had it.
func (s *idSet) add(id uint32) bool {
	if s.has(id) {
		return true
	}
	s.list = append(s.list, id)
	return false
}
