package engine

import (
	"errors"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/procfs"
)

// recover finds what a tracer left that died in this process, and cleans it:
// patches, slots, guard, debug registers. Each of its steps may be the last, like those
// of the dead one: remains.go.
func (s *session) recover(p *inferior.Process) error {
	list, err := procfs.Maps(p.PID)
	if err != nil {
		return err
	}
	space, areas := p.Space, oldAreas(p, list)
	space.Scratch = s.oldScratch(space, list)
	if len(areas) == 0 && space.Scratch == 0 {
		return nil
	}
	table, _ := breakpoint.Recover(s.isa, space.Memory, s.remote.Room(space), areas)
	for _, site := range table.Sites() { // tasks run into them until they are halted
		site.Tag = &tag{plain: true}
	}
	s.cleaned, space.Found = true, true
	if err := s.guard.Recover(p, table); err != nil {
		return err
	}
	mark := s.markOf(space)
	if mark == residentMagic && !s.collect {
		return ErrResident
	}
	space.Resident = mark != 0
	s.recoverRegions(p, list)
	if err := s.keepDoubtful(space, table, s.doubtful(space, table, list)); err != nil {
		return err
	}
	space.Files = oldFiles(p)
	p.Modules, _, _ = s.readModules(p) // whether it is a Go program
	err = s.clean(p, table)
	if p.Space == space { // it has not executed another program meanwhile
		p.Modules, p.Guarded, space.Resident = nil, space.Guard.Installed, false // there is nothing of ours any more
	}
	return err
}

// clean takes what recover has found out of a process. Its own system calls need the
// places where the dead one's may not be over yet: tasks come out of these first.
func (s *session) clean(p *inferior.Process, table *breakpoint.Table) error {
	space, ps := p.Space, []*inferior.Process{p}
	if !space.Resident { // else tasks are not stepped out of runs: there is no guard
		space.Table = table
	}
	pause := s.loop.HaltAll(ps)
	if err := s.leaveOurs(space, table, ps); err != nil {
		if errors.Is(err, errWithin) {
			err = errComesBack
		}
		return errors.Join(err, s.unhaltTasks(p))
	}
	xol.Unquiet(p, table)
	if space.Resident {
		if err := s.unhaltTasks(p); err != nil {
			return err
		}
		if err := s.guard.Again(p, table); err != nil {
			return err
		}
		pause = s.loop.HaltAll(ps)
	}
	for _, t := range p.Tasks {
		t.Watched = true // unknown: clear them in any case
	}
	err := s.dismantle(space, ps, pause)
	if errors.Is(err, errWithin) && space.Resident {
		err = errors.Join(errComesBack, err)
	}
	if t, e := s.remote.TaskOf(p); !table.Prepared() && t != nil && pause.Stuck() == 0 { // it died while it came, or went
		err = errors.Join(err, e, s.unmap(t))
	}
	return errors.Join(err, s.unhaltTasks(p))
}

// keepDoubtful has what only a note tells of told by more than that: the next system call's
// note takes its place.
func (s *session) keepDoubtful(space *inferior.Space, table *breakpoint.Table, list []region) error {
	for _, r := range list {
		if g := &space.Guard; r.size == inferior.PageSize && g.Data == 0 && table.GuardHeader() != 0 {
			g.Data = r.addr
			if err := s.guard.NotePage(space, table.GuardHeader()); err != nil {
				return err
			}
			continue
		}
		s.regions[space] = append(s.regions[space], r)
	}
	if space.Guard.Data == 0 || len(list) == 0 {
		return nil
	}
	return s.noteRegions(space)
}

// unhaltTasks ends haltAll for one process.
func (s *session) unhaltTasks(p *inferior.Process) (err error) {
	for _, t := range slices.Collect(maps.Values(p.Tasks)) {
		if e := s.loop.Unhalt(t); !ptrace.IsGone(e) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// oldAreas are the areas of ours that are mapped in a process.
func oldAreas(p *inferior.Process, maps []procfs.Mapping) (areas []arch.Addr) {
	left := maxSearched
	for _, m := range maps {
		if m.Perm != "r-xp" || m.Path != "" {
			continue
		}
		// Those side by side are shown as one; among them may be some that nothing
		// had been written into yet.
		for at := m.Start; at < m.End && at-m.Start < maxMerged && left > 0; left-- {
			size := breakpoint.Ours(p.Space.Memory, at)
			if size > 0 {
				areas = append(areas, at)
			}
			at += arch.Addr(max(size, inferior.PageSize))
		}
	}
	return areas
}

// How far areas are looked for in a mapping, in bytes, and in how many pages of a process:
// its own code without a file may be terabytes that it has never touched.
const (
	maxMerged   = 1 << 28
	maxSearched = 1 << 17
)
