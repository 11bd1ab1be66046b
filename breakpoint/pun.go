package breakpoint

import (
	"bytes"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// A pun is a jump with less room than it needs: its last bytes are the program's next instructions,
// or ptracer's patches there. These bytes do not change while the pun is in place, and they
// determine most of the jump's target. A page is mapped at that target, with a veneer: a jump from
// there to the trampoline. Veneers lie in mappings, as libraries do.

var errNoPun = failure.Unsupportedf("no room for a jump, and none where its last bytes lead")

// puns are the veneers of a space's puns.
type puns struct {
	room
	veneers map[arch.Addr]*trampoline // by address, in libs
}

// maxPuns is how many mappings there may be for veneers: a process has 65,530 in all
// (vm.max_map_count), and each costs two pages.
const maxPuns = 2000

// punTries is how many places are tried for a mapping, if the jump's own bytes leave a choice.
const punTries = 4

func (r *trampoline) rung() Rung {
	if r.pun() {
		return Pun
	}
	return Jump
}

func (r *trampoline) pun() bool { return r.veneer != 0 }

// pun gives a trampoline a jump that has no more room than the trampoline's instruction. It prefers
// a pun of one byte, which is safest, if the target of that is free.
func (t *puns) pun(j *Upgrade, r *trampoline) error {
	jump := make([]byte, t.isa.JumpLen())
	if err := t.mem.Read(r.from, jump); err != nil {
		return err
	}
	own := 1
	if r.veneer = t.veneerFor(r, jump, own, !j.OneByte); r.veneer == 0 && !j.OneByte {
		own = int(r.end() - r.from)
		r.veneer = t.veneerFor(r, jump, own, true)
	}
	if r.veneer == 0 {
		return errNoPun
	}
	r.leans = &leans{shared: jump[own:]}
	t.claim(r, r.veneer)
	if own == 1 {
		t.catchStrays(r, jump)
	}
	patch, err := t.isa.Jump(r.code, r.from, r.veneer)
	if err == nil {
		r.patch = patch[:own]
	}
	return err
}

// veneerFor finds room for the veneer of a trampoline's jump with own bytes of its own: in an
// existing mapping or, if anew is set, in a new one. It returns 0 if there is none.
func (t *puns) veneerFor(r *trampoline, jump []byte, own int, anew bool) (at arch.Addr) {
	lo, hi, ok := t.isa.Puns(jump, r.from, own)
	if !ok {
		return 0
	}
	if at = t.mappedVeneer(r, lo, hi); at == 0 && anew {
		at = t.newVeneer(lo, hi)
	}
	return at
}

// catchStrays makes a pun of one byte lead to its trampoline even when another tool has a trap at
// one of the instructions in the pun's last bytes, which changes the displacement. The program
// reaches that trap behind the trampoline.
func (t *puns) catchStrays(r *trampoline, jump []byte) {
	for _, to := range t.strays(r.code, jump, r.from) {
		if at := t.mappedVeneer(r, to, to); at != 0 && !slices.Contains(r.veneers(), at) {
			t.claim(r, at)
			r.strays = append(r.strays, at)
		}
	}
}

// strays returns where a jump over code at an address leads when an instruction inside the jump,
// other than the first, is replaced by a trap.
func (t *room) strays(code, jump []byte, from arch.Addr) (to []arch.Addr) {
	trap := t.isa.Trap()
	for at := 0; at < len(jump); {
		in, err := t.isa.Decode(code[at:], from+arch.Addr(at))
		if err != nil {
			break
		}
		if at += in.Len; at+len(trap) > len(jump) {
			break
		}
		changed := bytes.Clone(jump)
		copy(changed[at:], trap)
		if lo, _, ok := t.isa.Puns(changed, from, 1); ok {
			to = append(to, lo)
		}
	}
	return to
}

// claim assigns a veneer to a trampoline. The veneer is written at once; if it replaces one of an
// older trampoline, it is written when no task can be inside that (lead).
func (t *puns) claim(r *trampoline, at arch.Addr) {
	if t.veneers[at] == nil {
		t.stage(at, t.veneer(at, r.addr))
	} else {
		r.led = append(r.led, at)
	}
	t.veneers[at] = r
}

// mappedVeneer finds room for a veneer of a trampoline between two addresses in existing mappings.
// It returns 0 if there is none.
func (t *puns) mappedVeneer(r *trampoline, lo, hi arch.Addr) arch.Addr {
	size := arch.Addr(len(t.isa.FarJump(0)))
	for _, l := range t.libs {
		if !l.puns {
			continue
		}
		for at := max(lo, l.addr+libHead); at <= hi && at+size <= l.addr+arch.Addr(l.size); at += size {
			if t.freeVeneer(r, at, size) {
				return at
			}
		}
	}
	return 0
}

// newVeneer maps room for a veneer between two addresses. It returns 0 if that fails.
func (t *puns) newVeneer(lo, hi arch.Addr) arch.Addr {
	n := 0
	for _, l := range t.libs {
		if l.puns {
			n++
		}
	}
	for i := range arch.Addr(punTries) {
		if n >= maxPuns || i > hi-lo {
			break
		}
		at := lo + (hi-lo)/punTries*i
		l := t.veneerPages(at)
		if at < libHead || t.mapper.MapAt(l.addr, l.size) != nil || t.addLibrary(l) != nil {
			continue
		}
		return at
	}
	return 0
}

// veneerPages is the library that a veneer at an address needs.
func (t *room) veneerPages(at arch.Addr) library {
	l := library{addr: (at - libHead) &^ (pageSize - 1), puns: true}
	l.size = roundUp(int(at+arch.Addr(len(t.isa.FarJump(0)))-l.addr), pageSize)
	return l
}

// freeVeneer reports whether a trampoline's veneer may lie at an address.
func (t *puns) freeVeneer(r *trampoline, at, size arch.Addr) bool {
	for a := at - size + 1; a < at+size; a++ {
		if old := t.veneers[a]; old != nil && (a != at || old.from != r.from || old.sites[0].trampoline == old) {
			return false
		}
	}
	return true
}

// leaning returns the sites with puns that depend on the present value of any of n bytes at from.
func (t *Table) leaning(from arch.Addr, n int) (list []*Site) {
	if len(t.veneers) == 0 {
		return nil
	}
	for a := from - arch.Addr(t.isa.JumpLen()) + 1; a < from+arch.Addr(n); a++ {
		s := t.sites[a]
		if s != nil && s.trampoline != nil && s.trampoline.pun() && s.trampoline.end() < from+arch.Addr(n) && s.trampoline.behind(t.isa.JumpLen()) > from {
			list = append(list, s)
		}
	}
	return list
}

// veneers returns where the jump of a trampoline may lead first, if it is a pun.
func (r *trampoline) veneers() []arch.Addr {
	if r.veneer == 0 {
		return nil
	}
	return append([]arch.Addr{r.veneer}, r.strays...)
}

// lead writes a pun's veneers over those of an older trampoline. All tasks must be halted, and no
// task may be in a veneer.
func (t *puns) lead(r *trampoline) error {
	for _, at := range r.led {
		if err := t.mem.Write(at, t.veneer(at, r.addr)); err != nil {
			return err
		}
	}
	return nil
}

// veneer returns the code of a veneer. It is a direct jump if that reaches, since CPUs take longer
// for a jump that reads its target (a counted call took 32 ns on a Xeon, and takes 25).
func (t *room) veneer(at, to arch.Addr) []byte {
	if jump, err := t.isa.Jump(nil, at, to); err == nil {
		return jump
	}
	return t.isa.FarJump(to)
}

// recoverVeneer finds the veneer that a dead tracer's jump leads to, if the veneer leads to the
// trampoline.
func (t *puns) recoverVeneer(r *trampoline, jump []byte) arch.Addr {
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
