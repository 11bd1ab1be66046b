package breakpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A run is where the jump of a site leads: code that does what is to be done at
// a hit, then the displaced instructions, and a jump back. It lies in cells of
// an area. A site that jumps has been served as a trap before: its own cell has
// the slot of that, and what it takes to undo the jump.
type run struct {
	site    *Site
	area    *area
	cell, n int // in area
	addr    arch.Addr
	insts   []arch.Inst
	slot    arch.Slot // of the displaced instructions; Offs from addr
}

// locate is Table.Locate in a run. Where what is done at a hit is not done yet,
// there is nothing to show.
func (r *run) locate(pc arch.Addr) (arch.Fix, *Site, bool) {
	i, ok := slices.BinarySearchFunc(r.slot.Fixes, int(pc-r.addr), func(f arch.Fix, off int) int { return f.Off - off })
	if !ok {
		return arch.Fix{}, r.site, false
	}
	return r.slot.Fixes[i], r.site, true
}

// in is the run in a copy of its area.
func (r *run) in(a *area, s *Site) *run {
	c := *r
	c.area, c.site = a, s
	for k := c.cell; k < c.cell+c.n; k++ {
		a.runs[k] = &c
	}
	return &c
}

// Upgrade is a jump asked for in the place of a site's trap.
type Upgrade struct {
	Site *Site
	// Code makes what runs before the displaced instructions, to lie at at. It
	// goes on behind its last byte.
	Code func(at arch.Addr) ([]byte, error)

	run   *run
	patch []byte
}

// Reasons why a site can't be a jump.
var (
	errTwoPages = fmt.Errorf("%w: the jump would lie on two pages", ErrUnsupported)
	errNear     = fmt.Errorf("%w: another probe lies inside the jump", ErrUnsupported)
	errNotOurs  = errors.New("not a trap of ours")
)

// Plan gets a jump ready, for the instructions that isa.Run gives; nothing leads
// to those behind the first. Nothing is armed yet, and tasks may run. No site is
// inserted until it is armed.
func (t *Table) Plan(j *Upgrade, more int) error {
	s := j.Site
	if t.sites[s.Addr] != s || s.area == nil || !s.armed || s.run != nil {
		return &SiteError{s.Addr, errNotOurs}
	}
	if s.Addr%pageSize+arch.Addr(t.isa.JumpLen()) > pageSize {
		return &SiteError{s.Addr, errTwoPages}
	}
	for i := 1; i < t.isa.JumpLen(); i++ {
		if t.sites[s.Addr+arch.Addr(i)] != nil {
			return &SiteError{s.Addr, errNear}
		}
	}
	if len(t.JumpsOver(s.Addr, 1)) > 0 {
		return &SiteError{s.Addr, ErrOverlap}
	}
	if err := t.write(j, more); err != nil {
		return &SiteError{s.Addr, err}
	}
	return nil
}

// write makes a jump's run. Its length is not known before its place is, so it
// is made twice.
func (t *Table) write(j *Upgrade, more int) error {
	insts, err := t.isa.Run(j.Site.Code(), j.Site.Addr, t.isa.JumpLen())
	if err != nil {
		return err
	}
	n := 2 // cells
	for {
		a, err := t.areaWith(j.Site.Addr, n, n*more)
		if err != nil {
			return err
		}
		i := a.takeRun(n)
		r := &run{site: j.Site, area: a, cell: i, n: n, addr: a.cell(i), insts: insts}
		code, err := t.runCode(j, r)
		if err != nil {
			a.giveRun(i, n)
			return err
		}
		if need := roundUp(len(code), cellSize) / cellSize; need > n {
			a.giveRun(i, n)
			n = need
			continue
		}
		if j.patch, err = t.isa.Jump(j.Site.Addr, r.addr); err == nil {
			err = t.mem.Write(r.addr, code)
		}
		if err != nil {
			a.giveRun(i, n)
			return err
		}
		// Whoever cleans up behind us must find both the jump and the trap.
		if err := t.noteJump(j.Site, j.patch, r); err != nil {
			a.giveRun(i, n)
			return err
		}
		for k := i; k < i+n; k++ {
			a.runs[k] = r
		}
		j.run = r
		return nil
	}
}

func (t *Table) runCode(j *Upgrade, r *run) ([]byte, error) {
	code, err := j.Code(r.addr)
	if err != nil {
		return nil, err
	}
	t.buf.Reset(r.addr)
	t.buf.Bytes(code...)
	slot, err := t.isa.RelocateRun(&t.buf, j.Site.Code(), j.Site.Addr, r.insts)
	if err != nil {
		return nil, err
	}
	for i := range slot.Fixes {
		slot.Fixes[i].Off += len(code)
	}
	r.slot = slot
	return t.buf.Code, nil
}

// Drop gives up a jump that was planned and not armed.
func (t *Table) Drop(j *Upgrade) {
	if j.run != nil && j.Site.run != j.run {
		j.run.area.giveRun(j.run.cell, j.run.n)
		j.run = nil
	}
}

// Displaces are the addresses, other than the site's, at which instructions
// start that a planned jump overwrites.
func (j *Upgrade) Displaces() (list []arch.Addr) {
	for i, at := 0, j.Site.Addr; i < len(j.run.insts)-1; i++ {
		at += arch.Addr(j.run.insts[i].Len)
		list = append(list, at)
	}
	return list
}

// Continue is where a task goes on that has come to addr, the site's address
// with its hit behind it or one of Displaces.
func (j *Upgrade) Continue(addr arch.Addr) (arch.Addr, bool) {
	for _, f := range j.run.slot.Fixes {
		if f.PC == addr && f.Before && f.SP == 0 {
			return j.run.addr + arch.Addr(f.Off), true
		}
	}
	return 0, false
}

// Arm puts planned jumps in the place of their traps. All tasks are halted, and
// none is inside what the jumps overwrite, nor comes back there: those that were
// go on at Continue. Errors are by jump: those stay traps.
func (t *Table) Arm(jumps []*Upgrade) []error {
	changes := make([]change, len(jumps))
	for i, j := range jumps {
		changes[i] = change{j.Site.Addr, j.Site.patch, j.patch}
	}
	errs := t.exchange(changes)
	for i, j := range jumps {
		if errs[i] != nil {
			t.old = append(t.old, j.run) // tasks may be on their way there
			j.run = nil
			errs[i] = &SiteError{j.Site.Addr, errs[i]}
			continue
		}
		s := j.Site
		s.run, s.patch, s.Rung, s.Reason = j.run, j.patch, Jump, ""
		t.jumps++
	}
	return errs
}

// noteJump writes into a site's cell how to undo its jump.
func (t *Table) noteJump(s *Site, patch []byte, r *run) error {
	var b [cellSize - cellOrig]byte
	copy(b[:8], s.code[:len(patch)])
	b[8], b[cellJump-cellOrig] = byte(len(patch)), byte(len(patch))
	binary.LittleEndian.PutUint32(b[cellRun-cellOrig:], uint32(int64(r.addr)-int64(s.Slot())))
	b[cellRuns-cellOrig] = byte(min(r.n, 255))
	return t.mem.Write(s.Slot()+cellOrig, b[:])
}

// Disarm puts traps in the place of jumps; all tasks are halted. The runs stay
// until Sweep.
func (t *Table) Disarm(sites []*Site, why string) error {
	trap := t.isa.Trap()
	var list []*Site
	var changes []change
	for _, s := range sites {
		if s != nil && t.sites[s.Addr] == s && s.run != nil {
			list = append(list, s)
			changes = append(changes, change{s.Addr, s.patch, append(slices.Clone(trap), s.code[len(trap):len(s.patch)]...)})
		}
	}
	var failed []error
	for i, err := range t.exchange(changes) {
		s := list[i]
		if err != nil && err != errNotOurs {
			failed = append(failed, &SiteError{s.Addr, err})
			continue
		}
		t.retire(s)
		s.patch, s.Reason = trap, why
		s.Rung = Slot
		switch {
		case s.Resume != s.Slot():
			s.Rung = Emulate
		case s.copied:
			s.Rung = Step
		}
	}
	return errors.Join(failed...)
}

// change is bytes to be replaced where memory holds what it is thought to hold.
type change struct {
	addr     arch.Addr
	old, now []byte
}

// exchange makes changes, each whole or not at all; errors are by change. Those
// of one page are written at once: each write is a system call for which all
// tasks wait. What lies between them is written as it was read just before.
func (t *Table) exchange(changes []change) []error {
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

// exchangePage makes those of the changes that list names, in ascending order.
func (t *Table) exchangePage(changes []change, list []int, errs []error) {
	first, last := changes[list[0]], changes[list[len(list)-1]]
	code := make([]byte, int(last.addr-first.addr)+len(last.now))
	err := t.mem.Read(first.addr, code)
	for _, i := range list {
		c, at := changes[i], int(changes[i].addr-first.addr)
		if err == nil && bytes.HasPrefix(code[at:], c.old) {
			copy(code[at:], c.now)
		} else {
			errs[i] = errNotOurs
		}
	}
	if err == nil {
		err = t.mem.Write(first.addr, code)
	}
	for _, i := range list {
		if errs[i] == nil {
			errs[i] = err
		}
	}
}

// retire takes a site's run out of use.
func (t *Table) retire(s *Site) {
	if s.run != nil {
		t.old = append(t.old, s.run)
		s.run = nil
		t.jumps--
	}
}

// JumpsOver lists the sites whose jump displaces anything in [addr, addr+n).
func (t *Table) JumpsOver(addr arch.Addr, n int) (list []*Site) {
	if t.jumps == 0 {
		return nil
	}
	back := t.isa.JumpLen() - 1 + t.isa.MaxInst()
	for a := addr - arch.Addr(back); a < addr+arch.Addr(n); a++ {
		s := t.sites[a]
		if s == nil || s.run == nil {
			continue
		}
		end := s.Addr
		for _, in := range s.run.insts {
			end += arch.Addr(in.Len)
		}
		if end > addr {
			list = append(list, s)
		}
	}
	return list
}

// AnyJump says whether any site is armed by a jump.
func (t *Table) AnyJump() bool { return t.jumps > 0 }

// AnyRun says whether a task can stand in a run.
func (t *Table) AnyRun() bool { return t.jumps > 0 || len(t.old) > 0 }

// InRun says whether pc lies in a run, also in one that nothing leads to any
// more: a task there has to leave it by itself.
func (t *Table) InRun(pc arch.Addr) bool {
	for _, a := range t.areas {
		if pc >= a.cells && pc < a.index {
			return a.runs[int(pc-a.cells)/cellSize] != nil
		}
	}
	return false
}
