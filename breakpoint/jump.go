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
//
// Sites that lie in what one jump displaces, as both ends of a short function, share
// the run. The first has in its cell how to undo the jump.
type run struct {
	sites   []*Site
	hits    []int // where what is done at each one's hit begins, from addr
	area    *area
	cell, n int // in area
	addr    arch.Addr
	from    arch.Addr // of the jump: the site's, or a little before it
	code    []byte    // the program's bytes from there on, at least the jump's
	patch   []byte    // the jump
	insts   []arch.Inst
	slot    arch.Slot // of the displaced instructions; Offs from addr
	veneer  arch.Addr // of a pun: where its jump leads first
	shared  []byte    // of a pun: the jump's bytes behind its patch, as they are in memory
}

// end is behind the last instruction that is displaced.
func (r *run) end() arch.Addr {
	end := r.from
	for _, in := range r.insts {
		end += arch.Addr(in.Len)
	}
	return end
}

// behind is where the jump and what it displaces end.
func (r *run) behind(jump int) arch.Addr {
	return max(r.end(), r.from+arch.Addr(max(jump, len(r.patch))))
}

// trapped is what lies under the jump while its sites are traps.
func (r *run) trapped(trap []byte) []byte {
	b := bytes.Clone(r.code[:len(r.patch)])
	for _, s := range r.sites {
		if at := int(s.Addr - r.from); at < len(b) {
			copy(b[at:], trap)
		}
	}
	return b
}

// locate is Table.Locate in a run. Where what is done at a hit is not done yet,
// there is nothing to show.
func (r *run) locate(pc arch.Addr) (arch.Fix, *Site, bool) {
	i, ok := slices.BinarySearchFunc(r.slot.Fixes, int(pc-r.addr), func(f arch.Fix, off int) int { return f.Off - off })
	if !ok {
		return arch.Fix{}, r.sites[0], false
	}
	return r.slot.Fixes[i], r.sites[0], true
}

// in is the run in a copy of its area, for copies of its sites.
func (r *run) in(a *area) *run {
	c := *r
	c.area, c.sites = a, make([]*Site, len(r.sites))
	for k := c.cell; k < c.cell+c.n; k++ {
		a.runs[k] = &c
	}
	return &c
}

// Upgrade is a jump asked for in the place of a site's trap.
type Upgrade struct {
	Site *Site
	// From is where the jump is to lie: at the site, or before it, at an
	// instruction from which the program comes to the site whatever happens, as
	// before a return that has no room of its own. 0 is the site.
	From arch.Addr
	// Code writes what runs before the site's instruction, and goes on behind its
	// last byte. Where an instruction of it may fault for the program's, it says
	// how a task there is to be shown, by offsets in b.Code.
	Code func(b *arch.Buffer) ([]arch.Fix, error)
	// Pun asks for a jump in place of the site's instruction only, where that is
	// shorter than a jump: the jump's last bytes are the program's next.
	// Those may be other sites' patches, too.
	Pun bool
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
	errTwoPages = fmt.Errorf("%w: the jump would lie on two pages", ErrUnsupported)
	errNear     = fmt.Errorf("%w: another probe lies inside the jump", ErrUnsupported)
	errBack     = fmt.Errorf("%w: no way from there to the site", ErrUnsupported)
	errNotOurs  = errors.New("not a trap of ours")
)

// Plan gets a jump ready, for the instructions that isa.Run gives; nothing leads
// to those behind the first. Nothing is armed yet, and tasks may run. No site is
// inserted until it is armed.
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
	r, err := t.displace(j)
	if err == nil {
		err = t.alone(j, r)
	}
	if err == nil {
		err = t.write(j, *r, more)
	}
	if err != nil {
		return &SiteError{s.Addr, err}
	}
	for a := r.from; a < j.run.behind(t.isa.JumpLen()); a++ {
		t.planned[a] = j
	}
	return nil
}

// displace finds what a jump is to displace: up to its site's instruction, at
// least.
func (t *Table) displace(j *Upgrade) (*run, error) {
	s, n := j.Site, t.isa.JumpLen()
	if j.Pun {
		n = 1
	}
	r := &run{from: j.From, code: t.CodeAt(s)}
	if back := int64(s.Addr - j.From); back != 0 {
		if back < 0 || back > MaxBack {
			return nil, errBack
		}
		r.code = make([]byte, int(back)+s.codeN)
		if err := t.ReadOriginal(j.From, r.code); err != nil {
			return nil, err
		}
		n = max(n, int(back)+1)
	}
	jump, err := t.isa.Jump(r.code, r.from, r.from)
	if err != nil {
		return nil, err
	}
	if r.from%pageSize+arch.Addr(len(jump)) > pageSize {
		return nil, errTwoPages
	}
	if r.insts, err = t.isa.Run(r.code, r.from, n); err != nil {
		return nil, err
	}
	at := r.from
	for _, in := range r.insts {
		if at == s.Addr {
			return r, nil
		}
		at += arch.Addr(in.Len)
	}
	return nil, errBack
}

// CodeAt is the program's bytes from a site on, as far as a jump there may displace
// them.
func (t *Table) CodeAt(s *Site) []byte {
	if n := t.isa.MaxJump(); n > s.codeN {
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
		if t.anyPlanned(r.end(), behind) {
			return ErrOverlap
		}
		behind = r.end()
	}
	for a := r.from; a < behind; a++ {
		if s, _ := j.codeAt(a); t.sites[a] != s {
			return errNear
		}
		if t.planned[a] != nil {
			return ErrOverlap
		}
	}
	if len(t.JumpsOver(r.from, int(behind-r.from))) > 0 {
		return ErrOverlap
	}
	return nil
}

// write makes a jump's run. Its length is not known before its place is, so it
// is made twice.
func (t *Table) write(j *Upgrade, what run, more int) error {
	n := 2 // cells
	for {
		a, err := t.areaWith(j.Site.Addr, n, n*more)
		if err != nil {
			return err
		}
		i := a.takeRun(n)
		r := &what
		r.area, r.cell, r.n, r.addr = a, i, n, a.cell(i)
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
		to := r.addr
		if j.Pun {
			if r.veneer, err = t.veneerFor(r); err != nil {
				a.giveRun(i, n)
				return err
			}
			to = r.veneer
		}
		if r.patch, err = t.isa.Jump(r.code, r.from, to); err == nil {
			r.patch = r.patch[:len(r.patch)-len(r.shared)]
			err = t.mem.Write(r.addr, code)
		}
		if err == nil { // whoever cleans up behind us must find both the jump and the trap
			err = t.noteJump(r.sites[0], r)
		}
		if err != nil {
			t.freeRun(r)
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
	t.buf.Reset(r.addr)
	at := r.from
	var own []arch.Fix
	r.sites, r.hits = nil, nil
	slot, err := t.isa.RelocateRun(&t.buf, r.code, r.from, r.insts, func(i int) error {
		if s, code := j.codeAt(at); s != nil {
			r.sites, r.hits = append(r.sites, s), append(r.hits, len(t.buf.Code))
			fixes, err := code(&t.buf)
			if err != nil {
				return err
			}
			own = append(own, fixes...)
		}
		at += arch.Addr(r.insts[i].Len)
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
	if t.veneers[r.veneer] == r {
		delete(t.veneers, r.veneer)
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
	for a := j.run.from; a < j.run.behind(t.isa.JumpLen()); a++ {
		delete(t.planned, a)
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
	for i, at := 0, j.run.from; i < len(j.run.insts)-1; i++ {
		at += arch.Addr(j.run.insts[i].Len)
		list = append(list, at)
	}
	return list
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

// Arm puts planned jumps in the place of their traps. All tasks are halted, and
// none is inside what the jumps overwrite, nor comes back there: those that were
// go on at Continue. Errors are by jump: those stay traps.
func (t *Table) Arm(jumps []*Upgrade) []error {
	changes := make([]change, len(jumps))
	veneers := make([]error, len(jumps))
	for i, j := range jumps {
		r := j.run
		t.unplan(j)
		changes[i] = change{r.from, append(r.trapped(t.isa.Trap()), r.shared...), slices.Concat(r.patch, r.shared)}
		if veneers[i] = t.lead(r); veneers[i] != nil {
			changes[i].now = changes[i].old
		}
	}
	errs := t.exchange(changes)
	for i, j := range jumps {
		if errs[i] == nil {
			errs[i] = veneers[i]
		}
		if errs[i] != nil {
			t.old = append(t.old, j.run) // tasks may be on their way there
			j.run = nil
			errs[i] = &SiteError{j.Site.Addr, errs[i]}
			continue
		}
		for _, s := range j.run.sites {
			s.run, s.Rung, s.Reason = j.run, j.run.rung(), ""
			t.jumps++
		}
	}
	return errs
}

// noteJump writes into a site's cell how to undo its jump: the program's bytes
// where that lies, and behind those, where it lies before the site, the trap's.
func (t *Table) noteJump(s *Site, r *run) error {
	var b [cellSize - cellOrig]byte
	n := copy(b[:8], r.code[:len(r.patch)])
	if r.from != s.Addr {
		n += copy(b[n:8], s.code[:len(t.isa.Trap())])
	}
	b[8], b[cellJump-cellOrig], b[cellBack-cellOrig] = byte(n), byte(len(r.patch)), byte(s.Addr-r.from)
	binary.LittleEndian.PutUint32(b[cellRun-cellOrig:], uint32(int64(r.addr)-int64(s.Slot())))
	b[cellRuns-cellOrig] = byte(min(r.n, 255))
	return t.mem.Write(s.Slot()+cellOrig, b[:])
}

// Disarm puts traps in the place of jumps, of all sites that share these or lean on
// them; all tasks are halted. The runs stay until Sweep.
func (t *Table) Disarm(sites []*Site, why string) error {
	sites = t.Sharing(sites)
	trap := t.isa.Trap()
	var list []*run
	var changes []change
	for _, s := range sites {
		if s != nil && t.sites[s.Addr] == s && s.run != nil && !slices.Contains(list, s.run) {
			list = append(list, s.run)
			changes = append(changes, change{s.run.from, s.run.patch, s.run.trapped(trap)})
		}
	}
	var failed []error
	for i, err := range t.exchange(changes) {
		if err != nil && err != errNotOurs {
			failed = append(failed, &SiteError{list[i].sites[0].Addr, err})
			continue
		}
		for _, s := range list[i].sites {
			t.retire(s)
			s.Reason, s.Rung = why, s.trapRung()
		}
	}
	return errors.Join(failed...)
}

// trapRung is the rung of a site without a jump.
func (s *Site) trapRung() Rung {
	switch {
	case s.Resume != s.Slot():
		return Emulate
	case s.copied:
		return Step
	}
	return Slot
}

// Sharing are the sites that share a jump with any of sites, and those the puns of
// which lean on the patches of them; themselves included.
func (t *Table) Sharing(sites []*Site) (all []*Site) {
	seen := map[*Site]bool{}
	for todo := slices.Clone(sites); len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if s == nil || seen[s] {
			continue
		}
		seen[s] = true
		all = append(all, s)
		from, n := s.Addr, len(t.isa.Trap())
		if s.run != nil {
			todo = append(todo, s.run.sites...)
			from, n = s.run.from, len(s.run.patch)
		}
		todo = append(todo, t.leaning(from, n)...)
	}
	return all
}

// Within lists the sites in [from, to), by address.
func (t *Table) Within(from, to arch.Addr) (list []*Site) {
	for a := from; a < to; a++ {
		if s := t.sites[a]; s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (t *Table) anyPlanned(from, to arch.Addr) bool {
	for a := from; a < to; a++ {
		if t.planned[a] != nil {
			return true
		}
	}
	return false
}

// Planned says whether a jump that displaces what is at an address has been planned
// and is not armed.
func (t *Table) Planned(addr arch.Addr) bool { return t.planned[addr] != nil }

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
	if r := s.run; r != nil {
		s.run = nil
		t.jumps--
		if !slices.ContainsFunc(r.sites, func(x *Site) bool { return x.run == r }) {
			t.old = append(t.old, r)
		}
	}
}

// JumpsOver lists the sites whose jump displaces anything in [addr, addr+n).
func (t *Table) JumpsOver(addr arch.Addr, n int) (list []*Site) {
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

// AnyJump says whether any site is armed by a jump.
func (t *Table) AnyJump() bool { return t.jumps > 0 }

// AnyRun says whether a task can stand in a run.
func (t *Table) AnyRun() bool { return t.jumps > 0 || len(t.old) > 0 }

// InRun says whether pc lies in a run, also in one that nothing leads to any
// more, or at a jump behind its landing pad, which is half the way: a task there has
// to leave it by itself.
func (t *Table) InRun(pc arch.Addr) bool {
	for _, a := range t.areas {
		if pc >= a.cells && pc < a.index {
			return a.runs[int(pc-a.cells)/cellSize] != nil
		}
	}
	return t.inLibrary(pc) || t.behindPad(pc)
}

func (t *Table) behindPad(pc arch.Addr) bool {
	s := t.sites[pc-arch.Addr(t.isa.MaxJump()-t.isa.JumpLen())]
	return s != nil && s.run != nil && s.run.from == s.Addr && len(s.run.patch) > t.isa.JumpLen()
}
