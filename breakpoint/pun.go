package breakpoint

import (
	"bytes"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// A pun is a jump with less room than it needs: its last bytes are the program's
// next instructions, or patches of ours there. Those stay what they are as long as
// the pun is there, and say nearly all of where it leads. There, wherever that is, a
// page is mapped, with a veneer: a jump from there to the run. Veneers lie in
// mappings as libraries do.

var errNoPun = fmt.Errorf("%w: no room for a jump, and none where its last bytes lead", ErrUnsupported)

// maxPuns is how many mappings there may be for veneers: a process has 65,530 in all
// (vm.max_map_count), and each costs two pages.
const maxPuns = 2000

// punTries is how many places are tried for a mapping, where the jump's own bytes
// leave a choice.
const punTries = 4

func (r *run) rung() Rung {
	if r.pun() {
		return Pun
	}
	return Jump
}

func (r *run) pun() bool { return r.veneer != 0 }

// veneerFor finds where the veneer of a run lies. Nothing is written there yet:
// another's may be in use, that was for the same jump.
func (t *Table) veneerFor(r *run) (arch.Addr, error) {
	jump := make([]byte, t.isa.JumpLen())
	if err := t.mem.Read(r.from, jump); err != nil {
		return 0, err
	}
	own := int(r.end() - r.from)
	lo, hi, ok := t.isa.Puns(jump, r.from, own)
	if !ok {
		return 0, errNoPun
	}
	r.shared = jump[own:]
	size := arch.Addr(len(t.isa.FarJump(0)))
	n := 0
	for _, l := range t.libs {
		if !l.puns {
			continue
		}
		n++
		for at := max(lo, l.addr+libHead); at <= hi && at+size <= l.addr+arch.Addr(l.size); at += size {
			if t.freeVeneer(r, at, size) {
				t.veneers[at] = r
				return at, nil
			}
		}
	}
	for i := range arch.Addr(punTries) {
		if n >= maxPuns || i > hi-lo {
			break
		}
		at := lo + (hi-lo)/punTries*i
		l := library{addr: (at - libHead) &^ (pageSize - 1), puns: true}
		l.size = roundUp(int(at+size-l.addr), pageSize)
		if at < libHead || t.mapper.MapAt(l.addr, l.size) != nil {
			continue
		}
		t.veneers[at] = r
		return at, t.addLibrary(l)
	}
	return 0, errNoPun
}

// freeVeneer says whether a run's veneer may lie at an address.
func (t *Table) freeVeneer(r *run, at, size arch.Addr) bool {
	for a := at - size + 1; a < at+size; a++ {
		if old := t.veneers[a]; old != nil && (a != at || old.from != r.from || old.sites[0].run == old) {
			return false
		}
	}
	return true
}

// leaning are the sites of puns that have any of n bytes at from as they are now.
func (t *Table) leaning(from arch.Addr, n int) (list []*Site) {
	if len(t.veneers) == 0 {
		return nil
	}
	for a := from - arch.Addr(t.isa.JumpLen()) + 1; a < from+arch.Addr(n); a++ {
		s := t.sites[a]
		if s != nil && s.run != nil && s.run.pun() && s.run.end() < from+arch.Addr(n) && s.run.behind(t.isa.JumpLen()) > from {
			list = append(list, s)
		}
	}
	return list
}

// lead writes a pun's veneer. All tasks are halted, and none is in it.
func (t *Table) lead(r *run) error {
	if r.veneer == 0 {
		return nil
	}
	return t.mem.Write(r.veneer, t.veneer(r.veneer, r.addr))
}

// veneer is the code of one: a direct jump where that reaches, for CPUs take longer for
// one whose target they read (a counted call took 32 ns on a Xeon, and takes 25).
func (t *Table) veneer(at, to arch.Addr) []byte {
	if jump, err := t.isa.Jump(nil, at, to); err == nil {
		return jump
	}
	return t.isa.FarJump(to)
}

// recoverVeneer finds the veneer to which the jump leads that a dead tracer left,
// if it leads to the run from there.
func (t *Table) recoverVeneer(r *run, jump []byte) arch.Addr {
	in, err := t.isa.Decode(jump, r.from)
	if err != nil || in.Kind != arch.KindJump || !t.inLibrary(in.Target) {
		return 0
	}
	want := t.veneer(in.Target, r.addr)
	now := make([]byte, len(want))
	if len(want) == 0 || t.mem.Read(in.Target, now) != nil || !bytes.Equal(now, want) {
		return 0
	}
	t.veneers[in.Target] = r
	return in.Target
}
