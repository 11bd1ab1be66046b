package breakpoint

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Upgrade is a request to replace a site's trap by a jump.
type Upgrade struct {
	Site *Site
	// From is the address of the jump: the site's, or that of an instruction before it from which
	// the program always reaches the site, as before a return that is too short for a jump. 0 means
	// the site.
	From arch.Addr
	// Code writes the code that runs before the site's instruction and continues behind its last
	// byte. If one of its instructions can fault in place of the program's, Code returns how to
	// show a task there, by offsets in b.Code. Plan sets Code to nil.
	Code func(b *arch.Buffer) ([]arch.Fix, error)
	// Pun asks for a jump that replaces the site's instruction only, where that is shorter than a
	// jump: the jump's last bytes are the program's next bytes, which may belong to other sites'
	// patches.
	Pun bool
	// OneByte asks for a pun that changes only one byte, as a trap does, and that leads to memory
	// which Reserve has mapped.
	OneByte bool
	// Others are the other sites among the instructions that the jump displaces, with their code.
	Others []Other

	trampoline *trampoline
}

// Other is a site that shares the jump of another.
type Other struct {
	Site *Site
	Code func(b *arch.Buffer) ([]arch.Fix, error)
}

// Sites returns all sites that the jump serves.
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

// Reasons for which a site can't be a jump.
var (
	errTwoPages = failure.Unsupportedf("the jump would lie on two pages")
	errNear     = failure.Unsupportedf("another probe lies inside the jump")
	errBack     = failure.Unsupportedf("no way from there to the site")
	errNotOurs  = errors.New("not a trap of ptracer's")
)

// Plan prepares a jump, for the instructions that isa.Run gives; no jump of the program leads to
// those behind the first. Plan arms nothing, and tasks may run. Flush writes the code that the jump
// leads to. No site may be inserted until the jump is armed.
func (t *Table) Plan(j *Upgrade, more int) error {
	s := j.Site
	for _, s := range j.Sites() {
		if t.sites[s.Addr] != s || s.area == nil || !s.armed || s.trampoline != nil {
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
	t.planned.put(j.trampoline.from, j.trampoline.behind(t.isa.JumpLen()), true)
	t.plans++
	j.Code = nil // the code has been written, and there may be a hundred thousand plans
	for i := range j.Others {
		j.Others[i].Code = nil
	}
	return nil
}

// displace finds the instructions that a jump displaces, at least up to the site's.
func (t *Table) displace(j *Upgrade) (*trampoline, []arch.Inst, error) {
	s, n := j.Site, t.isa.JumpLen()
	r := &trampoline{from: j.From, code: t.CodeAt(s), leans: &leansOnNothing}
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

// CodeAt returns the program's bytes from a site on, as far as a jump there may displace them.
func (t *Table) CodeAt(s *Site) []byte {
	if n := t.isa.MaxJump(); n > int(s.codeN) {
		code := make([]byte, n)
		if t.ReadOriginal(s.Addr, code) == nil {
			return code
		}
	}
	return s.Code()
}

// alone returns an error if a site or jump lies in the bytes that the jump would displace, other
// than those it serves.
func (t *Table) alone(j *Upgrade, r *trampoline) error {
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

// write makes a jump's trampoline. The length of the code depends on its address, so the code is
// made twice.
func (t *Table) write(j *Upgrade, r *trampoline, insts []arch.Inst, more int) error {
	n := 2 // cells
	for {
		a, err := t.areaWith(j.Site.Addr, n, n*more)
		if err != nil {
			return err
		}
		i := a.takeCells(n)
		r.area, r.cell, r.n, r.addr = a, i, n, a.cell(i)
		code, err := t.trampolineCode(j, r, insts)
		if err != nil {
			a.giveCells(i, n)
			return err
		}
		if need := roundUp(len(code), cellSize) / cellSize; need > n {
			a.giveCells(i, n)
			n = need
			continue
		}
		if j.Pun {
			err = t.pun(j, r)
		} else {
			r.patch, err = t.isa.Jump(r.code, r.from, r.addr)
		}
		if err != nil {
			t.freeTrampoline(r)
			return err
		}
		t.stage(r.addr, code)
		t.noteJump(r.sites[0], r) // a later tracer that cleans up must find both the jump and the trap
		for k := i; k < i+n; k++ {
			a.trampolines[k] = r
		}
		j.trampoline = r
		return nil
	}
}

func (t *Table) trampolineCode(j *Upgrade, r *trampoline, insts []arch.Inst) ([]byte, error) {
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

// freeTrampoline gives back a trampoline's cells, and its veneer.
func (t *Table) freeTrampoline(r *trampoline) {
	r.area.giveCells(r.cell, r.n)
	for _, at := range r.veneers() {
		if t.veneers[at] == r {
			delete(t.veneers, at)
		}
	}
}

// Drop abandons a jump that was planned and not armed.
func (t *Table) Drop(j *Upgrade) {
	if j.trampoline != nil && j.Site.trampoline != j.trampoline {
		t.unplan(j)
		t.freeTrampoline(j.trampoline)
		j.trampoline = nil
	}
}

func (t *Table) unplan(j *Upgrade) {
	t.planned.put(j.trampoline.from, j.trampoline.behind(t.isa.JumpLen()), false)
	if t.plans--; t.plans == 0 {
		clear(t.planned)
	}
}

// Hit returns where a task continues that has reached the site at addr and has not hit it. It
// returns false if there is no such site.
func (j *Upgrade) Hit(addr arch.Addr) (arch.Addr, bool) {
	for i, s := range j.trampoline.sites {
		if s.Addr == addr {
			return j.trampoline.addr + arch.Addr(j.trampoline.hits[i]), true
		}
	}
	return 0, false
}

// Displaces returns the addresses, other than the jump's own, of the instructions that a planned
// jump displaces.
func (j *Upgrade) Displaces() (list []arch.Addr) {
	for i, at := 0, j.trampoline.from; i < len(j.trampoline.lens)-1; i++ {
		at += arch.Addr(j.trampoline.lens[i])
		list = append(list, at)
	}
	return list
}

// Displaced is the program's code that a planned jump displaces.
func (j *Upgrade) Displaced() []byte { return j.trampoline.code }

// Splits reports whether an address of Displaces is among the bytes that the jump overwrites.
func (j *Upgrade) Splits() bool {
	return len(j.trampoline.lens) > 1 && int(j.trampoline.lens[0]) < len(j.trampoline.patch)
}

// Continue returns where a task continues that is at addr, one of Displaces or the jump's own
// address. At the site's address, the task has already hit the site.
func (j *Upgrade) Continue(addr arch.Addr) (arch.Addr, bool) {
	for _, f := range j.trampoline.slot.Fixes {
		if f.PC == addr && f.Before && f.SP == 0 {
			return j.trampoline.addr + arch.Addr(f.Off), true
		}
	}
	return 0, false
}
