package breakpoint

import (
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
	errNotOurs  = errors.New("not a trap of ours")
)

// Plan gets a jump ready: it displaces the given number of instructions, which
// isa.Run has given, and nothing leads there but the site. Nothing is armed
// yet, and tasks may run.
func (t *Table) Plan(j *Upgrade, more int) error {
	s := j.Site
	if t.sites[s.Addr] != s || s.area == nil || !s.armed || s.run != nil {
		return &SiteError{s.Addr, errNotOurs}
	}
	if s.Addr%pageSize+arch.Addr(t.isa.JumpLen()) > pageSize {
		return &SiteError{s.Addr, errTwoPages}
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
// none is inside what the jumps overwrite. Errors are by jump: those stay traps.
func (t *Table) Arm(jumps []*Upgrade) []error {
	errs := make([]error, len(jumps))
	var window pages
	for i, j := range jumps {
		if err := t.armJump(j, &window); err != nil {
			t.Drop(j)
			errs[i] = &SiteError{j.Site.Addr, err}
		}
	}
	return errs
}

// pages reads memory a page at a time: the jumps of a pause lie close together,
// and each read is a system call for which all tasks wait.
type pages struct {
	at  arch.Addr
	buf [pageSize]byte
	ok  bool
}

func (p *pages) read(mem Memory, addr arch.Addr, buf []byte) error {
	start := addr &^ (pageSize - 1)
	if addr+arch.Addr(len(buf)) > start+pageSize {
		return mem.Read(addr, buf)
	}
	if !p.ok || p.at != start {
		if p.ok = mem.Read(start, p.buf[:]) == nil; !p.ok {
			return mem.Read(addr, buf)
		}
		p.at = start
	}
	copy(buf, p.buf[addr-start:])
	return nil
}

func (t *Table) armJump(j *Upgrade, window *pages) error {
	s := j.Site
	if t.sites[s.Addr] != s || !s.armed || s.run != nil || j.run == nil {
		return errNotOurs
	}
	for i := 1; i < len(j.patch); i++ {
		if t.sites[s.Addr+arch.Addr(i)] != nil {
			return fmt.Errorf("%w: another probe lies inside the jump", ErrUnsupported)
		}
	}
	if len(t.JumpsOver(s.Addr, 1)) > 0 {
		return ErrOverlap
	}
	var now [16]byte
	if err := window.read(t.mem, s.Addr, now[:len(s.patch)]); err != nil || !slices.Equal(now[:len(s.patch)], s.patch) {
		return errNotOurs
	}
	if err := t.mem.Write(s.Addr, j.patch); err != nil {
		return err
	}
	s.run, s.patch, s.Rung, s.Reason = j.run, j.patch, Jump, ""
	t.jumps++
	return nil
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
	var errs []error
	for _, s := range sites {
		if s == nil || t.sites[s.Addr] != s || s.run == nil {
			continue
		}
		trap := t.isa.Trap()
		code := append(slices.Clone(trap), s.code[len(trap):len(s.patch)]...)
		now := make([]byte, len(s.patch))
		if t.mem.Read(s.Addr, now) == nil && slices.Equal(now, s.patch) {
			if err := t.mem.Write(s.Addr, code); err != nil {
				errs = append(errs, &SiteError{s.Addr, err})
				continue
			}
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
	return errors.Join(errs...)
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
