package breakpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// Want describes a site to insert.
type Want struct {
	Addr arch.Addr
	Orig []byte // the instruction's bytes in the file, up to MaxInst; nil if there is no file
	Rung Rung   // Auto, or one of the trap rungs to force it
	// Quiet asks for a site without a trap: only a jump is planted at it, and nothing after the
	// jump is removed, until Speak is called.
	Quiet bool
}

// Insert arms all wanted sites. It writes slots, then index entries, then traps, so that the tracee
// stays safe if it runs meanwhile, or if the tracer dies at any point. Errors are by wanted site;
// sites without an error are armed.
func (t *Table) Insert(wants []Want) ([]*Site, []error) {
	sites, errs := make([]*Site, len(wants)), make([]error, len(wants))
	unwritten := t.Flush() // writes staged for old cells, before these cells are used again
	fresh := make([]*Site, 0, len(wants))
	planned := make(map[arch.Addr]*Site, len(wants)) // joins t.sites at the end, so that the order is computed once
	t.expect(len(wants) * cellSize)
	for i, w := range wants {
		if s := cmp.Or(t.sites[w.Addr], planned[w.Addr]); s != nil {
			if sites[i] = s; !w.Quiet {
				if errs[i] = t.Speak(s); errs[i] != nil {
					sites[i] = nil
				}
			}
			continue
		}
		s, err := t.plan(w, len(wants)-i)
		if err != nil {
			errs[i] = &SiteError{w.Addr, err}
			continue
		}
		sites[i], planned[w.Addr] = s, s
		fresh = append(fresh, s)
	}
	maps.Copy(t.sites, planned)
	t.sorted = nil
	failed := t.arm(fresh, errors.Join(unwritten, t.Flush()))
	for i, s := range sites {
		if err := failed[s]; s != nil && err != nil {
			sites[i], errs[i] = nil, &SiteError{s.Addr, err}
		}
	}
	return sites, errs
}

// Speak plants the trap of a site that was quiet: at once, or, if the site has a jump, when the
// jump is removed. After an error the site is as quiet as before.
func (t *Table) Speak(s *Site) error {
	if s == nil || t.sites[s.Addr] != s || len(s.patch) > 0 || !s.armed || s.area == nil {
		return nil
	}
	trap := t.isa.Trap()
	if s.trampoline == nil || s.Addr-s.trampoline.from >= arch.Addr(len(s.trampoline.patch)) { // no jump lies there
		if err := t.mem.Write(s.Addr, trap); err != nil {
			return &SiteError{s.Addr, &refused{err}}
		}
	}
	s.patch = trap
	return nil
}

// plan reads, compares, decodes and relocates the site's code; it arms nothing.
func (t *Table) plan(w Want, more int) (*Site, error) {
	s := &Site{Addr: w.Addr, cell: -1}
	if !w.Quiet {
		s.patch = t.isa.Trap()
	}
	if len(t.JumpsOver(w.Addr, 1)) > 0 {
		return nil, ErrOverlap
	}
	if uint64(w.Addr)%uint64(t.isa.MinInst()) != 0 {
		return nil, ErrMisaligned
	}
	if err := t.readCode(s, w.Orig); err != nil {
		return nil, err
	}
	inst, err := t.isa.Decode(s.Code(), s.Addr)
	if err != nil {
		return nil, err
	}
	s.Inst = inst
	s.Ambiguous = t.isa.TrapPC(s.Addr) == s.Addr || inst.Len == 1
	if inst.Kind == arch.KindTrap {
		// The program has a trap instruction of its own here; the engine counts it and lets the
		// program have it.
		s.Rung, s.Reason = Emulate, "the program's own trap instruction"
		return s, nil
	}
	return s, t.serve(s, w.Rung, more)
}

// readCode reads the program's bytes at s from memory and compares them with the file's.
func (t *Table) readCode(s *Site, orig []byte) error {
	n := t.isa.MaxInst()
	err := t.ReadOriginal(s.Addr, s.code[:n])
	for err != nil && n > 1 { // the last instruction before an unmapped page
		n--
		err = t.ReadOriginal(s.Addr, s.code[:n])
	}
	if err != nil {
		return &notMapped{err}
	}
	s.codeN = uint8(n)
	m := min(n, len(orig))
	if m == 0 {
		return nil
	}
	inst, err := t.isa.Decode(orig[:m], s.Addr)
	if err != nil {
		return err
	}
	if k := min(inst.Len, m); !bytes.Equal(orig[:k], s.code[:k]) {
		if t.isa.IsTrap(s.code[:n]) {
			return ErrForeign
		}
		// Self-modified or relocated text: memory is what runs.
	}
	return nil
}

// serve chooses the rung and writes the slot.
func (t *Table) serve(s *Site, rung Rung, more int) error {
	switch {
	case rung == Step:
		return t.serveStep(s, "asked for", more)
	case rung == Emulate, rung == Auto:
		if t.serveEmulate(s, more) {
			return nil
		}
		if rung == Emulate {
			return failure.Unsupportedf("this instruction is not emulated")
		}
	}
	err := t.serveSlot(s, more)
	if err == nil || rung == Slot || !errors.As(err, new(fixed)) {
		return err
	}
	return t.serveStep(s, err.Error(), more)
}

// serveEmulate serves instructions with no effect but a constant PC.
func (t *Table) serveEmulate(s *Site, more int) bool {
	switch {
	case s.Inst.Kind == arch.KindNop && t.isa.MinInst() == 1:
		s.Resume = s.End()
	case s.Inst.Kind == arch.KindJump:
		s.Resume = s.Inst.Target
	default:
		return false
	}
	a, err := t.areaFor(s.Addr, more)
	if err != nil {
		return false
	}
	s.Rung = Emulate
	s.area, s.cell = a, a.take()
	a.sites[s.cell] = s
	t.stage(s.Slot(), t.cellBytes(s, nil)) // no slot, but the data needed to clean up
	return true
}

// fixed is the error of an instruction that can't be executed elsewhere. It is never an error of
// the mapper, though that may be an errors.ErrUnsupported, too.
type fixed struct{ error }

func (e fixed) Unwrap() error { return e.error }

func (t *Table) serveSlot(s *Site, more int) error {
	a, err := t.areaFor(s.Addr, more)
	if err != nil {
		return err
	}
	i := a.take()
	t.buf.Reset(a.cell(i))
	slot, err := t.isa.Relocate(&t.buf, s.Code(), s.Addr)
	if err == nil && len(t.buf.Code) > cellCode {
		err = failure.Unsupportedf("slot too long")
	}
	if err != nil {
		a.give(i)
		if errors.Is(err, errors.ErrUnsupported) {
			err = fixed{err}
		}
		return err
	}
	t.stage(a.cell(i), t.cellBytes(s, t.buf.Code))
	s.Rung, s.slot, s.area, s.cell, s.Resume, s.copied = Slot, slot, a, i, a.cell(i), false
	a.sites[i] = s
	return nil
}

// serveStep gives an instruction a slot to be stepped through. An instruction that can't be
// relocated is copied unchanged; the engine steps it and corrects the result.
func (t *Table) serveStep(s *Site, why string, more int) error {
	err := t.serveSlot(s, more)
	switch {
	case err == nil && s.Inst.Kind == arch.KindSyscall:
		s.Reason = "a system call may block: not stepped"
		return nil
	case err == nil:
		s.Rung, s.Reason = Step, why
		return nil
	case !errors.As(err, new(fixed)):
		return err
	}
	a, err := t.areaFor(s.Addr, more)
	if err != nil {
		return err
	}
	i := a.take()
	t.stage(a.cell(i), t.cellBytes(s, s.Code()[:s.Inst.Len]))
	s.Rung, s.Reason, s.area, s.cell, s.Resume = Step, why, a, i, a.cell(i)
	s.slot = arch.Slot{Len: s.Inst.Len, Fixes: []arch.Fix{
		{Off: 0, PC: s.Addr, Before: true, Reg: -1}, {Off: s.Inst.Len, PC: s.End(), Reg: -1}}}
	s.copied = true
	a.sites[i] = s
	return nil
}

// cellBytes is a whole cell: the slot's code, the bytes that the trap displaces, and their length.
func (t *room) cellBytes(s *Site, code []byte) []byte {
	cell := make([]byte, cellSize)
	copy(cell, code)
	n := copy(cell[cellOrig:cellOrig+8], s.code[:len(t.isa.Trap())])
	cell[cellOrig+8] = byte(n)
	return cell
}

// arm writes the index entries, then the traps, unless the slots could not be written.
func (t *Table) arm(sites []*Site, unwritten error) map[*Site]error {
	failed := map[*Site]error{}
	if unwritten == nil {
		unwritten = t.enter(sites)
	}
	for _, s := range sites {
		if s.area == nil {
			s.armed = true // nothing to write
			continue
		}
		err := unwritten
		if err == nil && len(s.patch) > 0 {
			if err = t.mem.Write(s.Addr, s.patch); err != nil {
				err = &refused{err}
			}
		}
		if err != nil {
			failed[s] = err
			t.forget(s)
			continue
		}
		s.armed = true
		delete(t.gone, s.Addr)
	}
	return failed
}

// enter writes sites' index entries. It writes the address to continue at first, so that an entry
// is whole as soon as its site's address can be found.
func (t *Table) enter(sites []*Site) error {
	for _, found := range []bool{false, true} {
		for _, s := range sites {
			if s.area == nil {
				continue
			}
			var e [arch.EntrySize]byte
			binary.LittleEndian.PutUint64(e[arch.EntryResume:], uint64(s.Resume))
			if found {
				binary.LittleEndian.PutUint64(e[arch.EntryAddr:], uint64(s.Addr))
			}
			t.stage(s.area.entry(s.cell), e[:])
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// Remove disarms sites. Their slots stay until Sweep, since a task may be inside. A site with a
// jump needs a pause (Clear), unless it is Removable. A site with a patch that can't be removed
// stays in the table, since tasks still reach it.
func (t *Table) Remove(sites []*Site) error {
	var errs []error
	for _, s := range sites {
		if t.sites[s.Addr] != s {
			continue
		}
		if s.trampoline != nil && !t.Removable(s) {
			errs = append(errs, &SiteError{s.Addr, errRunning})
			continue
		}
		if s.area != nil {
			err := t.disarm(s)
			if err != nil && !errors.Is(err, ErrNotMapped) {
				errs = append(errs, &SiteError{s.Addr, &refused{err}})
				continue
			}
			t.gone[s.Addr] = true
		}
		t.retire(s)
		delete(t.sites, s.Addr)
		t.sorted, s.armed = nil, false
	}
	return errors.Join(errs...)
}

// Clear is Remove in a pause; it writes all changes of one page at once. A stuck task has its PC at
// a system call, which a jump displaces whole or not at all: the task continues in the jump's code,
// which stays, or in the program's.
func (t *Table) Clear(p Pause, sites []*Site) error {
	if err := p.some(); err != nil {
		return err
	}
	var changes []change
	var of []*Site // the sites of each change
	for _, s := range sites {
		if t.sites[s.Addr] == s && s.area != nil {
			for _, c := range s.undo() {
				changes, of = append(changes, c), append(of, s)
			}
		}
	}
	var errs []error
	stays := map[*Site]bool{}
	for i, err := range t.exchange(changes) {
		if err != nil && !errors.Is(err, errNotOurs) && !errors.Is(err, ErrNotMapped) {
			errs = append(errs, &SiteError{of[i].Addr, &refused{err}})
			stays[of[i]] = true
		}
	}
	for _, s := range sites {
		if t.sites[s.Addr] != s || stays[s] {
			continue
		}
		if s.area != nil {
			t.gone[s.Addr] = true
		}
		t.retire(s)
		delete(t.sites, s.Addr)
		t.sorted, s.armed = nil, false
	}
	return errors.Join(errs...)
}

// undo returns the changes that restore the program's bytes at a site: see disarm.
func (s *Site) undo() (list []change) {
	add := func(addr arch.Addr, patch, code []byte) {
		if len(patch) > 0 {
			list = append(list, change{addr, patch, code[:len(patch)], halfOf(patch, code)})
		}
	}
	if r := s.trampoline; r != nil {
		add(r.from, r.patch, r.code)
		if s.Addr-r.from < arch.Addr(len(r.patch)) {
			return list
		}
	}
	add(s.Addr, s.patch, s.code[:])
	return list
}

// disarm writes the program's bytes back, unless another tool has changed them meanwhile: disarm
// restores only bytes that are still ptracer's patch.
func (t *Table) disarm(s *Site) error {
	if r := s.trampoline; r != nil {
		if err := t.restore(r.from, r.patch, r.code); err != nil || s.Addr-r.from < arch.Addr(len(r.patch)) {
			return err
		}
	}
	return t.restore(s.Addr, s.patch, s.code[:])
}

// restore writes code where a patch of ptracer's is.
func (t *room) restore(addr arch.Addr, patch, code []byte) error {
	if len(patch) == 0 {
		return nil
	}
	now := make([]byte, len(patch))
	if err := t.mem.Read(addr, now); err != nil {
		return ErrNotMapped
	}
	if c := (change{addr, patch, code[:len(patch)], halfOf(patch, code)}); !c.is(now) {
		return nil
	}
	return t.mem.Write(addr, code[:len(patch)])
}

// forget drops a site that was planned but could not be armed, or that has lost the mapping of its
// code.
func (t *Table) forget(s *Site) {
	delete(t.sites, s.Addr)
	t.sorted, s.armed = nil, false
	t.retire(s)
	if s.area != nil {
		_ = t.putWord(s.area.entry(s.cell)+arch.EntryAddr, 0)
		s.area.give(s.cell)
	}
}

// Unmapped drops all sites in [start, end), a range that is no longer mapped, and returns them.
func (t *Table) Unmapped(start, end arch.Addr) []*Site {
	var gone []*Site
	for _, s := range slices.Clone(t.Sites()) {
		if s.Addr >= start && s.Addr < end {
			gone = append(gone, s)
			t.forget(s)
		}
	}
	return gone
}

// Sweep frees the slots of removed sites. All tasks must be halted, no task may have its PC in an
// area, and no trap of a removed site may still be unreported.
func (t *Table) Sweep(p Pause) {
	if p.all() != nil {
		return
	}
	clear(t.gone)
	for _, r := range t.old {
		t.freeTrampoline(r)
	}
	t.old = nil
	for _, a := range t.areas {
		for i, s := range a.sites {
			if s != nil && t.sites[s.Addr] != s {
				_ = t.putWord(a.entry(i)+arch.EntryAddr, 0)
				a.give(i)
			}
		}
	}
}
