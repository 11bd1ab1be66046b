package breakpoint

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Upgrade is a jump asked for in the place of a site's trap.
type Upgrade struct {
	Site *Site
	// From is where the jump is to lie: at the site, or before it, at an
	// instruction from which the program comes to the site whatever happens, as
	// before a return that has no room of its own. 0 is the site.
	From arch.Addr
	// Code writes what runs before the site's instruction, and goes on behind its
	// last byte. Where an instruction of it may fault for the program's, it says
	// how a task there is to be shown, by offsets in b.Code. Plan forgets it.
	Code func(b *arch.Buffer) ([]arch.Fix, error)
	// Pun asks for a jump in place of the site's instruction only, where that is
	// shorter than a jump: the jump's last bytes are the program's next.
	// Those may be other sites' patches, too.
	Pun bool
	// OneByte asks for a pun of which only the first byte is written, as of a trap, and in what
	// Reserve has mapped.
	OneByte bool
	// Others are the other sites in what the jump displaces, with theirs.
	Others []Other

	run *run
}

// Other is a site that shares the jump of another.
type Other struct {
	Site *Site
	Code func(b *arch.Buffer) ([]arch.Fix, error)
}

// Sites are all sites that the jump is for.
func (j *Upgrade) Sites() []*Site {
	list := []*Site{j.Site}
	for _, o := range j.Others {
		list = append(list, o.Site)
	}
	return list
}

// codeAt is the code of the site at an address, nil if there is none.
func (j *Upgrade) codeAt(at arch.Addr) (*Site, func(b *arch.Buffer) ([]arch.Fix, error)) {
	if at == j.Site.Addr {
		return j.Site, j.Code
	}
	for _, o := range j.Others {
		if at == o.Site.Addr {
			return o.Site, o.Code
		}
	}
	return nil, nil
}

// MaxBack is how far before its site a jump may lie, in bytes.
const MaxBack = 32

// Reasons why a site can't be a jump.
var (
	errTwoPages = failure.Unsupportedf("the jump would lie on two pages")
	errNear     = failure.Unsupportedf("another probe lies inside the jump")
	errBack     = failure.Unsupportedf("no way from there to the site")
	errNotOurs  = errors.New("not a trap of ptracer's")
)

// Plan gets a jump ready, for the instructions that isa.Run gives; nothing leads
// to those behind the first. Nothing is armed yet, and tasks may run; what it leads to
// is written by Flush. No site is inserted until it is armed.
func (t *Table) Plan(j *Upgrade, more int) error {
	s := j.Site
	for _, s := range j.Sites() {
		if t.sites[s.Addr] != s || s.area == nil || !s.armed || s.run != nil {
			return &SiteError{s.Addr, errNotOurs}
		}
	}
	if j.From == 0 {
		j.From = s.Addr
	}
	r, insts, err := t.displace(j)
	if err == nil {
		err = t.alone(j, r)
	}
	if err == nil {
		err = t.write(j, r, insts, more)
	}
	if err != nil {
		return &SiteError{s.Addr, err}
	}
	t.planned.put(j.run.from, j.run.behind(t.isa.JumpLen()), true)
	t.plans++
	j.Code = nil // it has been written; there may be a hundred thousand plans
	for i := range j.Others {
		j.Others[i].Code = nil
	}
	return nil
}

// displace finds what a jump is to displace: up to its site's instruction, at
// least.
func (t *Table) displace(j *Upgrade) (*run, []arch.Inst, error) {
	s, n := j.Site, t.isa.JumpLen()
	r := &run{from: j.From, code: t.CodeAt(s), leans: &leansOnNothing}
	if j.Pun {
		n = 1
	}
	if back := int64(s.Addr - j.From); back != 0 {
		if back < 0 || back > MaxBack {
			return nil, nil, errBack
		}
		r.code = make([]byte, int(back)+int(s.codeN))
		if err := t.ReadOriginal(j.From, r.code); err != nil {
			return nil, nil, err
		}
		n = max(n, int(back)+1)
	}
	jump, err := t.isa.Jump(r.code, r.from, r.from)
	if err != nil {
		return nil, nil, err
	}
	if r.from%pageSize+arch.Addr(len(jump)) > pageSize {
		return nil, nil, errTwoPages
	}
	insts, err := t.isa.Run(r.code, r.from, n)
	if err != nil {
		return nil, nil, err
	}
	r.lens = make([]uint8, len(insts))
	at, reaches := r.from, false
	for i, in := range insts {
		r.lens[i] = uint8(in.Len)
		reaches = reaches || at == s.Addr
		at += arch.Addr(in.Len)
	}
	if !reaches {
		return nil, nil, errBack
	}
	return r, insts, nil
}

// CodeAt is the program's bytes from a site on, as far as a jump there may displace
// them.
func (t *Table) CodeAt(s *Site) []byte {
	if n := t.isa.MaxJump(); n > int(s.codeN) {
		code := make([]byte, n)
		if t.ReadOriginal(s.Addr, code) == nil {
			return code
		}
	}
	return s.Code()
}

// alone says whether no other site or jump is in what a jump would displace but
// those that it is for.
func (t *Table) alone(j *Upgrade, r *run) error {
	behind := r.behind(t.isa.JumpLen())
	if j.Pun {
		if t.planned.any(r.end(), behind) {
			return ErrOverlap
		}
		behind = r.end()
	}
	for a := r.from; a < behind; a++ {
		if s, _ := j.codeAt(a); t.sites[a] != s {
			return errNear
		}
	}
	if t.planned.any(r.from, behind) || len(t.JumpsOver(r.from, int(behind-r.from))) > 0 {
		return ErrOverlap
	}
	return nil
}

// write makes a jump's run. Its length is not known before its place is, so it
// is made twice.
func (t *Table) write(j *Upgrade, r *run, insts []arch.Inst, more int) error {
	n := 2 // cells
	for {
		a, err := t.areaWith(j.Site.Addr, n, n*more)
		if err != nil {
			return err
		}
		i := a.takeRun(n)
		r.area, r.cell, r.n, r.addr = a, i, n, a.cell(i)
		code, err := t.runCode(j, r, insts)
		if err != nil {
			a.giveRun(i, n)
			return err
		}
		if need := roundUp(len(code), cellSize) / cellSize; need > n {
			a.giveRun(i, n)
			n = need
			continue
		}
		if j.Pun {
			err = t.pun(j, r)
		} else {
			r.patch, err = t.isa.Jump(r.code, r.from, r.addr)
		}
		if err != nil {
			t.freeRun(r)
			return err
		}
		t.stage(r.addr, code)
		t.noteJump(r.sites[0], r) // whoever cleans up behind us must find both the jump and the trap
		for k := i; k < i+n; k++ {
			a.runs[k] = r
		}
		j.run = r
		return nil
	}
}

func (t *Table) runCode(j *Upgrade, r *run, insts []arch.Inst) ([]byte, error) {
	t.buf.Reset(r.addr)
	at := r.from
	var own []arch.Fix
	r.sites, r.hits = r.sites[:0], r.hits[:0]
	slot, err := t.isa.RelocateRun(&t.buf, r.code, r.from, insts, func(i int) error {
		if s, code := j.codeAt(at); s != nil {
			r.sites, r.hits = append(r.sites, s), append(r.hits, len(t.buf.Code))
			fixes, err := code(&t.buf)
			if err != nil {
				return err
			}
			own = append(own, fixes...)
		}
		at += arch.Addr(insts[i].Len)
		return nil
	})
	slot.Fixes = append(slot.Fixes, own...)
	slices.SortFunc(slot.Fixes, func(a, b arch.Fix) int { return a.Off - b.Off })
	r.slot = slot
	return t.buf.Code, err
}

// freeRun gives back a run's cells, and its veneer.
func (t *Table) freeRun(r *run) {
	r.area.giveRun(r.cell, r.n)
	for _, at := range r.veneers() {
		if t.veneers[at] == r {
			delete(t.veneers, at)
		}
	}
}

// Drop gives up a jump that was planned and not armed.
func (t *Table) Drop(j *Upgrade) {
	if j.run != nil && j.Site.run != j.run {
		t.unplan(j)
		t.freeRun(j.run)
		j.run = nil
	}
}

func (t *Table) unplan(j *Upgrade) {
	t.planned.put(j.run.from, j.run.behind(t.isa.JumpLen()), false)
	if t.plans--; t.plans == 0 {
		clear(t.planned)
	}
}

// Hit is where a task goes on that has come to the site at an address and has not
// hit; false: there is no site.
func (j *Upgrade) Hit(addr arch.Addr) (arch.Addr, bool) {
	for i, s := range j.run.sites {
		if s.Addr == addr {
			return j.run.addr + arch.Addr(j.run.hits[i]), true
		}
	}
	return 0, false
}

// Displaces are the addresses, other than the jump's own, at which instructions
// start that a planned jump displaces.
func (j *Upgrade) Displaces() (list []arch.Addr) {
	for i, at := 0, j.run.from; i < len(j.run.lens)-1; i++ {
		at += arch.Addr(j.run.lens[i])
		list = append(list, at)
	}
	return list
}

// Displaced is the program's code that a planned jump displaces.
func (j *Upgrade) Displaced() []byte { return j.run.code }

// Splits is whether one of Displaces is among the bytes that the jump takes.
func (j *Upgrade) Splits() bool {
	return len(j.run.lens) > 1 && int(j.run.lens[0]) < len(j.run.patch)
}

// Continue is where a task goes on that has come to addr, one of Displaces or the
// jump's own address; at the site's with its hit behind it.
func (j *Upgrade) Continue(addr arch.Addr) (arch.Addr, bool) {
	for _, f := range j.run.slot.Fixes {
		if f.PC == addr && f.Before && f.SP == 0 {
			return j.run.addr + arch.Addr(f.Off), true
		}
	}
	return 0, false
}
