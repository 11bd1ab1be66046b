// Package clean takes out of a process what ptracer has put there: at the end of a session, and
// what a tracer has left that died. Each step may be the last, because the tracer can die at any
// moment; DECISIONS.md has the order.
//
// All of it runs on the session's thread.
package clean

import (
	"errors"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/objects"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/procfs"
)

// Cleaner cleans the processes of a session.
type Cleaner struct {
	// Collect says that resident probes are taken away, too. Else Recover refuses a process that
	// has some.
	Collect bool
	Cleaned bool // something of another tracer's was found

	objects *objects.Objects
	loop    *tasks.Set
	remote  *remote.Caller
	guard   *guard.Guard
	xol     *xol.XOL
	inproc  *inproc.InProcess
	watch   *watch.Registers
	plant   *plant.Planter
	isa     arch.ISA
}

// Below has the rooms that a Cleaner works with.
type Below struct {
	Objects *objects.Objects
	Loop    *tasks.Set
	Remote  *remote.Caller
	Guard   *guard.Guard
	XOL     *xol.XOL
	InProc  *inproc.InProcess
	Watch   *watch.Registers
	Plant   *plant.Planter
	ISA     arch.ISA
}

// New returns a session's Cleaner.
func New(b Below) *Cleaner {
	return &Cleaner{objects: b.Objects, loop: b.Loop, remote: b.Remote, guard: b.Guard, xol: b.XOL, inproc: b.InProc,
		watch: b.Watch, plant: b.Plant, isa: b.ISA}
}

// ErrComesBack says that a process could not be cleaned yet, because a task may come back to
// ptracer's code.
var ErrComesBack = errors.New("a task is in ptracer's code, or a signal handler is to return there, and stays: so do ptracer's mappings; try again later")

// Recover finds what a tracer has left in a process that died there, and takes it out: patches,
// slots, guard, debug registers. Each of its steps may be the last, like those of the dead tracer
// (remains.go).
func (c *Cleaner) Recover(p *inferior.Process) error {
	list, err := procfs.Maps(p.PID)
	if err != nil {
		return err
	}
	space, areas := p.Space, OldAreas(p, list)
	space.Scratch = c.oldScratch(space, list)
	if len(areas) == 0 && space.Scratch == 0 {
		return nil
	}
	table, _ := breakpoint.Recover(c.isa, space.Memory, c.remote.Room(space), areas)
	for _, site := range table.Sites() { // tasks come to these until they are halted
		site.Tag = &probe.Consumers{Plain: true}
	}
	c.Cleaned, space.Found = true, true
	if err := c.guard.Recover(p, table); err != nil {
		return err
	}
	mark := space.Mark()
	if mark == inferior.MarkResident && !c.Collect {
		return access.ErrResident
	}
	space.Resident = mark != 0
	c.inproc.RecoverRegions(p, list)
	if err := c.keepDoubtful(space, table, c.doubtful(space, table, list)); err != nil {
		return err
	}
	space.Files = oldFiles(p)
	seen, _ := p.Look(&c.objects.Cache) // tells whether it is a Go program
	p.Modules, p.Unread = seen.Modules, nil
	err = c.clean(p, table)
	if p.Space == space { // the process has not executed another program meanwhile
		p.Modules, p.Guarded, space.Resident = nil, space.Guard.Installed, false // nothing of ptracer's is left
	}
	return err
}

// clean takes out what Recover has found. Its own system calls need the places where the dead
// tracer's calls may still be in progress: tasks leave these places first.
func (c *Cleaner) clean(p *inferior.Process, table *breakpoint.Table) error {
	space, ps := p.Space, []*inferior.Process{p}
	if !space.Resident { // resident: tasks can't be stepped out of trampolines before the guard is back
		space.Table = table
	}
	pause := c.loop.HaltAll(ps)
	if err := c.leaveOurs(space, table, ps); err != nil {
		if errors.Is(err, errWithin) {
			err = ErrComesBack
		}
		return errors.Join(err, c.unhaltTasks(p))
	}
	xol.Unquiet(p, table)
	if space.Resident {
		if err := c.unhaltTasks(p); err != nil {
			return err
		}
		if err := c.guard.Again(p, table); err != nil {
			return err
		}
		pause = c.loop.HaltAll(ps)
	}
	for _, t := range p.Tasks {
		t.Watched = true // it is not known: the registers are cleared in any case
	}
	err := c.Dismantle(space, ps, pause)
	if errors.Is(err, errWithin) && space.Resident {
		err = errors.Join(ErrComesBack, err)
	}
	if err == nil && !table.Prepared() && pause.Stuck() == 0 { // the dead tracer had mapped nothing yet, or had unmapped nearly all
		if t, _ := c.remote.TaskOf(p); t != nil { // nil: no task may make calls, and what is mapped stays
			err = c.unmap(t)
		}
	}
	return errors.Join(err, c.unhaltTasks(p))
}

// keepDoubtful writes mappings of which only a note tells into the guard's page. The next system
// call's note takes the place of that note.
func (c *Cleaner) keepDoubtful(space *inferior.Space, table *breakpoint.Table, list []inproc.Region) error {
	for _, r := range list {
		if g := &space.Guard; r.Size == inferior.PageSize && g.Data == 0 && table.GuardHeader() != 0 {
			g.Data = r.Addr
			if err := c.guard.NotePage(space, table.GuardHeader()); err != nil {
				return err
			}
			continue
		}
		c.inproc.Found(space, r)
	}
	if space.Guard.Data == 0 || len(list) == 0 {
		return nil
	}
	return c.inproc.NoteRegions(space)
}

// unhaltTasks ends the halt (tasks.Set.HaltAll) of one process.
func (c *Cleaner) unhaltTasks(p *inferior.Process) (err error) {
	for _, t := range slices.Collect(maps.Values(p.Tasks)) {
		if e := c.loop.Unhalt(t); !ptrace.IsGone(e) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// OldAreas returns the areas of ptracer's that are mapped in a process.
func OldAreas(p *inferior.Process, maps []procfs.Mapping) (areas []arch.Addr) {
	left := maxSearched
	for _, m := range maps {
		if m.Perm != "r-xp" || m.Path != "" {
			continue
		}
		// The kernel shows mappings side by side as one. Nothing may have been written into
		// some of them yet.
		for at := m.Start; at < m.End && at-m.Start < maxMerged && left > 0; left-- {
			size := breakpoint.SizeAt(p.Space.Memory, at)
			if size > 0 {
				areas = append(areas, at)
			}
			at += arch.Addr(max(size, inferior.PageSize))
		}
	}
	return areas
}

// The bounds of the search for areas: bytes of one mapping, and pages of a process. A program's own
// code without a file may be terabytes that it has never touched.
const (
	maxMerged   = 1 << 28
	maxSearched = 1 << 17
)
