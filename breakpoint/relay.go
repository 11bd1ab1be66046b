package breakpoint

import (
	"bytes"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A relay is a jump in the padding between the program's functions, to which a short
// jump leads where a site has no room for a long one. It is there from when its
// jump is armed, and stays as long as tasks may be in it: until Sweep or Restore.

// relayCode is what is there instead.
func (t *Table) relayCode() []byte {
	trap := t.isa.Trap()
	return bytes.Repeat(trap, t.isa.JumpLen()/len(trap))
}

// shortLen is the length of a jump to a relay, 0 if there is none.
func (t *Table) shortLen() int { return len(t.isa.ShortJump(0, 0)) }

// relayFor finds where the relay of a run lies, among the places given.
func (t *Table) relayFor(r *run, places []arch.Addr) (arch.Addr, error) {
	padding := t.relayCode()
	now, size := make([]byte, len(padding)), arch.Addr(len(padding))
	for _, at := range places {
		switch {
		// 0 in a site's cell is no relay.
		case t.isa.ShortJump(r.from, at) == nil || at == r.from+arch.Addr(t.shortLen()):
		case at%pageSize+size > pageSize || at < r.end() && r.from < at+size:
		case !t.freeVeneer(r, at, size) || t.planned.any(at, at+size) || len(t.jumpsOn(at, len(padding))) > 0 || len(t.Within(at, at+size)) > 0:
		case t.mem.Read(at, now) != nil || t.veneers[at] == nil && !bytes.Equal(now, padding):
		default:
			r.before, t.veneers[at] = t.veneers[at], r
			t.relays.put(at, at+size, true)
			return at, nil
		}
	}
	return 0, errNoRelay
}

// relaysOver are the runs whose relays have any of n bytes at addr.
func (t *Table) relaysOver(addr arch.Addr, n int) (list []*run) {
	if !t.relays.any(addr, addr+arch.Addr(n)) {
		return nil
	}
	size := arch.Addr(t.isa.JumpLen())
	for at, r := range t.veneers {
		if r.relayed && at < addr+arch.Addr(n) && addr < at+size {
			list = append(list, r)
		}
	}
	return list
}

// atRelay is whether pc is that of a relay.
func (t *Table) atRelay(pc arch.Addr) bool {
	r := t.veneers[pc]
	return r != nil && r.relayed
}

// relay writes a run's relay. All tasks are halted, and none is in it.
func (t *Table) relay(r *run) error {
	jump, err := t.isa.Jump(t.relayCode(), r.veneer, r.addr)
	if err != nil {
		return err
	}
	r.led, r.before = true, nil
	return t.mem.Write(r.veneer, jump)
}

// unrelay gives the program its padding back, unless something else is there now.
func (t *Table) unrelay(r *run) error {
	if t.veneers[r.veneer] != r {
		return nil // another's, that was for the same jump
	}
	if !r.led && r.before != nil {
		t.veneers[r.veneer] = r.before
		return nil
	}
	delete(t.veneers, r.veneer)
	padding := t.relayCode()
	t.relays.put(r.veneer, r.veneer+arch.Addr(len(padding)), false)
	jump, err := t.isa.Jump(padding, r.veneer, r.addr)
	if err != nil || !r.led {
		return err
	}
	if err := t.restore(r.veneer, jump, padding); err != nil && err != ErrNotMapped {
		return err
	}
	return nil
}

// forgetRelays is for code that is gone: what comes there is the program's.
func (t *Table) forgetRelays(start, end arch.Addr) {
	for at, r := range t.veneers {
		if r.relayed && at >= start && at < end {
			delete(t.veneers, at)
			t.relays.put(at, at+arch.Addr(t.isa.JumpLen()), false)
		}
	}
}

// Restore gives the program its padding back. No site is left, and no task is in what
// InArea says.
func (t *Table) Restore() error {
	var first error
	for _, r := range t.veneers {
		if r.relayed {
			if err := t.unrelay(r); first == nil {
				first = err
			}
		}
	}
	return first
}

// cloneRelays has the copy of a table know the relays, those that no site leads to
// any more, too.
func (t *Table) cloneRelays(c *Table) {
	for at, r := range t.veneers {
		if !r.relayed {
			continue
		}
		if c.veneers[at] == nil {
			old := *r
			c.veneers[at] = &old
		}
		c.relays.put(at, at+arch.Addr(t.isa.JumpLen()), true)
	}
}

// recoverRelay finds the relay that a dead tracer has noted for a run; armed is
// whether the jump, as it is in memory, leads there. What it has written there
// is ours to take away in any case.
func (t *Table) recoverRelay(r *run, noted byte, jump []byte) (armed bool) {
	at := r.from + arch.Addr(t.shortLen()) + arch.Addr(int64(int8(noted)))
	want, err := t.isa.Jump(t.relayCode(), at, r.addr)
	now := make([]byte, len(want))
	if err != nil || t.mem.Read(at, now) != nil || !bytes.Equal(now, want) {
		return false
	}
	r.veneer, r.relayed, r.led = at, true, true
	t.veneers[at] = r
	t.relays.put(at, at+arch.Addr(len(want)), true)
	return bytes.HasPrefix(jump, t.isa.ShortJump(r.from, at))
}

// jumpsOn lists the sites whose jump lies on, or displaces, any of n bytes at addr.
func (t *Table) jumpsOn(addr arch.Addr, n int) (list []*Site) {
	if t.jumps == 0 {
		return nil
	}
	back := t.isa.MaxJump() - 1 + t.isa.MaxInst()
	for a := addr - arch.Addr(back); a < addr+arch.Addr(n+MaxBack); a++ {
		if s := t.sites[a]; s != nil && s.run != nil && s.run.from < addr+arch.Addr(n) && s.run.behind(t.isa.JumpLen()) > addr {
			list = append(list, s)
		}
	}
	return list
}

// JumpsOver lists the sites whose jump lies on, or displaces, any of n bytes at
// addr, or has its relay there.
func (t *Table) JumpsOver(addr arch.Addr, n int) []*Site {
	list := t.jumpsOn(addr, n)
	for _, r := range t.relaysOver(addr, n) {
		for _, s := range r.sites {
			if s.run == r && !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}
