package engine

import (
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// recover finds what a tracer left that died in this process, and cleans it:
// patches, slots, guard, debug registers.
func (s *session) recover(p *inferior.Process) error {
	maps, err := symbols.Maps(p.PID)
	if err != nil {
		return err
	}
	areas := oldAreas(p, maps)
	if len(areas) == 0 {
		return nil
	}
	table, ok := breakpoint.Recover(s.isa, p.Space.Memory, &room{s, p.Space}, areas)
	if !ok {
		return nil
	}
	for _, site := range table.Sites() { // tasks run into them until they are halted
		site.Tag = &tag{plain: true}
	}
	s.cleaned = true
	g := &p.Space.Guard
	if table.GuardHeader() != 0 {
		if err := s.recoverGuard(p, table, g); err != nil {
			return err
		}
	}
	if mark := s.markOf(p.Space); mark != 0 {
		if mark == residentMagic && !s.collect {
			return ErrResident
		}
		p.Modules, _, _ = s.readModules(p) // comesBack asks which are Go's
		p.Space.Resident = true
		if err := s.guardAgain(p, table); err != nil {
			return err
		}
	}
	p.Space.Table = table
	s.recoverRegions(p.Space)
	ps := []*inferior.Process{p}
	stuck := s.haltAll(ps)
	for _, t := range p.Tasks {
		t.Watched = true // unknown: clear them in any case
	}
	err = s.dismantle(p.Space, ps, stuck)
	for _, t := range p.Tasks {
		err = errors.Join(err, s.unhalt(t))
	}
	p.Modules, p.Guarded, p.Space.Resident = nil, false, false // there is nothing of ours any more
	return err
}

// oldAreas are the areas of ours that are mapped in a process.
func oldAreas(p *inferior.Process, maps []symbols.Mapping) (areas []arch.Addr) {
	for _, m := range maps {
		if m.Perm != "r-xp" || m.Path != "" {
			continue
		}
		// Those side by side are shown as one; among them may be some that nothing
		// had been written into yet.
		for at := m.Start; at < m.End; {
			size := breakpoint.Ours(p.Space.Memory, at)
			if size > 0 {
				areas = append(areas, at)
			}
			at += arch.Addr(max(size, pageSize))
		}
	}
	return areas
}

func (s *session) recoverGuard(p *inferior.Process, table *breakpoint.Table, g *inferior.Guard) error {
	var b [arch.GuardSize]byte
	if err := p.Space.Memory.Read(table.GuardHeader(), b[:]); err != nil {
		return err
	}
	handler, _ := table.GuardHandler()
	g.Ours = ptrace.SigAction{Handler: uint64(handler)}
	g.Old.Handler, g.Old.Mask, g.Old.Flags = le64(b[arch.GuardOld:]), le64(b[arch.GuardOldMask:]), le64(b[arch.GuardOldFlags:])
	g.Old.Restorer = le64(b[guardRestorer:])
	g.Data = arch.Addr(le64(b[guardData:]))
	g.Installed = g.Data != 0
	return nil
}

// Words of the guard header that only we read.
const (
	guardRestorer = 40
	guardData     = 48
)
