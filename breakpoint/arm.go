package breakpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// Jumps that replace traps, and traps that replace jumps.

// Arm replaces the traps of planned jumps by the jumps. All tasks must be halted, and no task may
// be inside the bytes that the jumps overwrite or return there: a task that was there has been
// moved to Continue. Errors are by jump, and a jump that failed stays a trap. Without a pause all
// jumps stay planned.
func (t *Table) Arm(p Pause, jumps []*Upgrade) []error {
	if err := p.all(); err != nil {
		errs := make([]error, len(jumps))
		for i, j := range jumps {
			errs[i] = &SiteError{j.Site.Addr, err}
		}
		return errs
	}
	return t.armJumps(jumps)
}

// ArmByte is Arm for one jump that is Atomic, while tasks run.
func (t *Table) ArmByte(j *Upgrade) error {
	if !j.Atomic() {
		return &SiteError{j.Site.Addr, errRunning}
	}
	return t.armJumps([]*Upgrade{j})[0]
}

func (t *Table) armJumps(jumps []*Upgrade) []error {
	changes := make([]change, len(jumps))
	veneers := make([]error, len(jumps))
	unwritten := t.Flush()
	for i, j := range jumps {
		r := j.trampoline
		t.unplan(j)
		changes[i] = change{addr: r.from, old: append(r.trapped(), r.shared...), now: slices.Concat(r.patch, r.shared)}
		if veneers[i] = errors.Join(unwritten, t.lead(r)); veneers[i] != nil {
			changes[i].now = changes[i].old
		}
	}
	errs := t.exchange(changes)
	for i, j := range jumps {
		if errs[i] == nil {
			errs[i] = veneers[i]
		}
		if errs[i] != nil {
			t.old = append(t.old, j.trampoline) // tasks may be about to enter it
			j.trampoline = nil
			errs[i] = &SiteError{j.Site.Addr, errs[i]}
			continue
		}
		for _, s := range j.trampoline.sites {
			s.trampoline, s.Rung, s.Reason = j.trampoline, j.trampoline.rung(), ""
			t.jumps++
		}
	}
	return errs
}

// Atomic reports whether a planned jump may be armed while tasks run: only one byte of the
// program's code changes, the first byte of an instruction. Each task then sees either the
// instruction or the jump (AMD64 Architecture Programmer's Manual, volume 2, 7.6.1,
// "Cross-Modifying Code"; kernels and debuggers write traps in the same way).
func (j *Upgrade) Atomic() bool {
	r := j.trampoline
	quiet := !slices.ContainsFunc(r.sites, func(s *Site) bool { return len(s.patch) > 0 })
	return len(r.patch) == 1 && len(r.lens) == 1 && len(r.led) == 0 && quiet
}

// Removable reports whether a site may be removed while tasks run: its patch is one byte, and no
// other site shares its jump or depends on it.
func (t *Table) Removable(s *Site) bool {
	return s.trampoline != nil && len(s.trampoline.patch) == 1 && len(s.trampoline.lens) == 1 && len(t.Sharing([]*Site{s})) == 1
}

// noteJump writes into a site's cell how to undo its jump: the program's bytes where the jump lies,
// then, if the jump lies before the site, the bytes that the trap displaced.
func (t *Table) noteJump(s *Site, r *trampoline) {
	var b [cellSize - cellOrig]byte
	n := copy(b[:8], r.code[:len(r.patch)])
	if r.from != s.Addr {
		n += copy(b[n:8], s.code[:len(t.isa.Trap())])
	}
	b[8], b[cellJump-cellOrig], b[cellBack-cellOrig] = byte(n), byte(len(r.patch)), byte(s.Addr-r.from)
	binary.LittleEndian.PutUint32(b[cellFirst-cellOrig:], uint32(int64(r.addr)-int64(s.Slot())))
	b[cellCount-cellOrig] = byte(min(r.n, 255))
	t.stage(s.Slot()+cellOrig, b[:])
}

// Disarm replaces jumps by traps, for the given sites and for all sites that share their jumps or
// depend on them, and returns all of these. All tasks must be halted. The trampolines stay until
// Sweep.
func (t *Table) Disarm(p Pause, sites []*Site, why string) (all []*Site, err error) {
	if err := p.all(); err != nil {
		return nil, err
	}
	sites = t.Sharing(sites)
	list, seen := make([]*trampoline, 0, len(sites)), make(map[*trampoline]bool, len(sites))
	changes := make([]change, 0, len(sites))
	for _, s := range sites {
		if s != nil && t.sites[s.Addr] == s && s.trampoline != nil && !seen[s.trampoline] {
			seen[s.trampoline] = true
			list = append(list, s.trampoline)
			changes = append(changes, change{s.trampoline.from, s.trampoline.patch, s.trampoline.trapped(), halfOf(s.trampoline.patch, s.trampoline.code)})
		}
	}
	var failed []error
	for i, err := range t.exchange(changes) {
		if err != nil && !errors.Is(err, errNotOurs) {
			failed = append(failed, &SiteError{list[i].sites[0].Addr, err})
			continue
		}
		for _, s := range list[i].sites {
			t.retire(s)
			s.Reason, s.Rung = why, s.trapRung()
		}
	}
	return sites, errors.Join(failed...)
}

// trapRung is the rung that a site has without a jump.
func (s *Site) trapRung() Rung {
	switch {
	case s.Resume != s.Slot():
		return Emulate
	case s.copied:
		return Step
	}
	return Slot
}

// Sharing returns the sites that share a jump with any of sites, the sites with puns that depend on
// the patches of those, and sites itself.
func (t *Table) Sharing(sites []*Site) (all []*Site) {
	seen := make(map[*Site]bool, len(sites))
	all = make([]*Site, 0, len(sites))
	for todo := slices.Clone(sites); len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if s == nil || seen[s] {
			continue
		}
		seen[s] = true
		all = append(all, s)
		from, n := s.Addr, len(t.isa.Trap())
		if s.trampoline != nil {
			todo = append(todo, s.trampoline.sites...)
			from, n = s.trampoline.from, len(s.trampoline.patch)
		}
		todo = append(todo, t.leaning(from, n)...)
	}
	return all
}

// Planned reports whether a planned jump that is not armed displaces the instruction at an address.
func (t *Table) Planned(addr arch.Addr) bool { return t.planned.any(addr, addr+1) }

// change replaces bytes in memory, if memory holds the expected bytes: old, or half, if half is not
// nil.
type change struct {
	addr     arch.Addr
	old, now []byte
	half     []byte
}

// halfOf is what remains of a jump after a kernel uprobe has been placed on it and removed: the
// kernel saves one byte of the file's code and writes that byte back (set_orig_insn,
// kernel/events/uprobes.c). The bytes behind it are still the jump's, so no other tracer uses them.
// It is nil for a trap, of which nothing remains in this case.
func halfOf(patch, code []byte) []byte {
	if len(patch) < 2 || len(code) == 0 {
		return nil
	}
	return append([]byte{code[0]}, patch[1:]...)
}

// is reports whether now holds the bytes that the change expects.
func (c *change) is(now []byte) bool {
	return bytes.HasPrefix(now, c.old) || c.half != nil && bytes.HasPrefix(now, c.half)
}

// exchange makes changes, each whole or not at all; errors are by change. Changes in one page are
// made with one write, since all tasks wait for each system call. The bytes between them are
// written as they were read just before.
func (t *room) exchange(changes []change) []error {
	errs := make([]error, len(changes))
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmpAddr(changes[a].addr, changes[b].addr) })
	for len(order) > 0 {
		n, page := 1, changes[order[0]].addr/pageSize
		for n < len(order) && changes[order[n]].addr/pageSize == page {
			n++
		}
		t.exchangePage(changes, order[:n], errs)
		order = order[n:]
	}
	return errs
}

// exchangePage makes the changes that list names, in ascending order.
func (t *room) exchangePage(changes []change, list []int, errs []error) {
	first, n := changes[list[0]], 0
	for _, i := range list { // the last to begin is not always the last to end
		n = max(n, int(changes[i].addr-first.addr)+max(len(changes[i].old), len(changes[i].now)))
	}
	t.page = slices.Grow(t.page[:0], n)
	code := t.page[:n]
	err := t.mem.Read(first.addr, code)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotMapped, err)
	}
	from, to := n, 0 // the range that differs
	for _, i := range list {
		c, at := changes[i], int(changes[i].addr-first.addr)
		if err != nil || !c.is(code[at:]) {
			errs[i] = errNotOurs
			continue
		}
		for k, b := range c.now {
			if code[at+k] != b {
				code[at+k], from, to = b, min(from, at+k), max(to, at+k+1)
			}
		}
	}
	if err == nil && from < to {
		if err = t.mem.Write(first.addr+arch.Addr(from), code[from:to]); err != nil {
			err = &refused{err}
		}
	}
	for _, i := range list {
		if errs[i] == nil {
			errs[i] = err
		}
	}
}

// retire takes a site's trampoline out of use.
func (t *index) retire(s *Site) {
	if r := s.trampoline; r != nil {
		s.trampoline = nil
		t.jumps--
		if !r.inUse() {
			t.old = append(t.old, r)
		}
	}
}

// AnyTrampoline reports whether a task can be inside a trampoline.
func (t *index) AnyTrampoline() bool { return t.jumps > 0 || len(t.old) > 0 }

// InTrampoline reports whether pc lies in a trampoline, even in one that no jump leads to any more,
// or at a jump behind its landing pad. A task there must be left to run until it is outside.
func (t *Table) InTrampoline(pc arch.Addr) bool {
	for _, a := range t.areas {
		if pc >= a.cells && pc < a.index {
			return a.trampolines[int(pc-a.cells)/cellSize] != nil
		}
	}
	return t.inLibrary(pc) || t.behindPad(pc)
}
