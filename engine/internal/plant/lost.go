package plant

import (
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A program can map some of its code once more and run the copy (symbols.Module.Copies). The copies
// that are there at the attach have probes. Later ones are not told, like any mmap: they are looked
// for where results are read, and at the process's end.

// GapCopy is the gap of a placement if the program has mapped its code once more.
const GapCopy = "the program has mapped this code once more since the probe was planted: calls of that copy are not counted"

// NoteCopies notes GapCopy at placements of a process if their code has a copy without probes.
func (r *Planter) NoteCopies(p *inferior.Process) {
	if len(r.Probes) == 0 {
		return
	}
	maps, err := procfs.Maps(p.PID)
	if err != nil {
		return
	}
	for _, m := range maps {
		if m.Executable() && m.Inode != 0 && p.ModuleAt(m.Start) == nil {
			r.noteCopy(p, m)
		}
	}
}

// noteCopy notes GapCopy at placements in code that the mapping of shows.
func (r *Planter) noteCopy(p *inferior.Process, of procfs.Mapping) {
	for _, m := range p.Modules {
		for _, r := range m.Ranges {
			if r.Dev != of.Dev || r.Inode != of.Inode {
				continue
			}
			shown := slices.DeleteFunc(slices.Clone(p.Space.Table.Sites()), func(site *breakpoint.Site) bool {
				offset := uint64(site.Addr-r.Start) + r.Offset
				return !r.Contains(site.Addr) || offset < of.Offset || offset-of.Offset >= uint64(of.End-of.Start)
			})
			noteGap(shown, GapCopy)
		}
	}
}

// A program that throws away or replaces a page of its code throws the patches away, too, and the
// kernel does not tell. To watch the system calls that do this would cost more than it is worth.
// The tracer looks where results are read, when probes go, and when the process goes. A process
// that has ended has no memory, so its first task stops before its end.

// The gaps of a placement if its patch was not there all the time.
const (
	GapLost  = "lost: the code there was replaced, by the program or by a kernel uprobe that has gone; hits since then are not counted"
	GapUnder = "another tool's breakpoint, as a kernel uprobe's, was over the probe: hits meanwhile are not counted"
	GapAgain = "lost for a while: the code there was replaced, by the program or by a kernel uprobe that has gone; hits until that was seen are not counted"
)

// NoteLost notes at placements of sites that their patch is gone, or that another tool's trap is
// over it. It returns the sites that have lost their patch.
func (r *Planter) NoteLost(space *inferior.Space, sites []*breakpoint.Site) []*breakpoint.Site {
	lost, covered := space.Table.Lost(sites)
	noteGap(covered, GapUnder)
	noteGap(lost, GapLost, GapAgain, GapUnder)
	return lost
}

// noteGap notes a gap at the placements of sites, unless they have one already that is not among
// less.
func noteGap(sites []*breakpoint.Site, gap string, less ...string) {
	for _, site := range sites {
		g, ok := site.Tag.(*probe.Consumers)
		if !ok { // a dead tracer's site, which is being taken out
			continue
		}
		for _, pl := range g.List {
			if pl.Gap == "" || slices.Contains(less, pl.Gap) {
				pl.Gap = gap
			}
		}
	}
}

// lookRarely is how many times as long as the last look took the tracer waits before the next.
const lookRarely = 100

// LookForLost looks for patches that are gone and plants them again. A look is skipped if the last
// one was short ago.
func (r *Planter) LookForLost() {
	if ptrace.Now() < r.nextLook {
		return
	}
	start := ptrace.Now()
	for _, p := range r.loop.Procs {
		if p.Silent || p.Stale || p.VFork != nil {
			continue
		}
		r.NoteCopies(p)
		lost := r.NoteLost(p.Space, p.Space.Table.Sites())
		if len(lost) == 0 {
			continue
		}
		if err := r.replant(p, lost); err != nil && !ptrace.IsGone(err) {
			r.loop.Warn(p, "probes that were lost: %v", err)
		}
	}
	r.nextLook = ptrace.Now() + lookRarely*(ptrace.Now()-start)
}

// replant plants lost sites again: as traps first, then as jumps where they were.
func (r *Planter) replant(p *inferior.Process, lost []*breakpoint.Site) error {
	var jumps []*breakpoint.Site
	for _, site := range p.Space.Table.Sharing(lost) {
		if site.Jumps() {
			jumps = append(jumps, site)
		}
	}
	if err := r.jump.Downgrade(p.Space, jumps, "the program's page was replaced"); err != nil || r.loop.Procs[p.PID] != p {
		return err
	}
	for _, site := range p.Space.Table.Replant(append(lost, jumps...)) {
		for _, pl := range probe.Of(site).List {
			if pl.Gap == GapLost {
				pl.Gap = GapAgain
			}
		}
	}
	if err := r.jump.Upgrade(p, jumps); err != nil {
		return err
	}
	return r.JumpAgain(p)
}
