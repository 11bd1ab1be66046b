package plant

import (
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A program can map some of its code once more, and run the copy (symbols.Module.Copies). What is
// there when a process is attached to has its probes. Of what comes later nothing is told, as of
// any mmap; it is looked for where results are read, and at the process's end.

const GapCopy = "the program has mapped this code once more since the probe was planted: calls of that copy are not counted"

// NoteCopies notes at the placements of a process of which there are copies without probes.
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

// noteCopy notes it at those whose code a mapping shows.
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

// A program that throws away, or replaces, a page of its code throws our patches away,
// too, and the kernel does not tell. To have its system calls watched for that would cost it more
// than is gained: it is looked at where results are read, and when probes or the process
// go. At its end a process has no memory any more: so its first task is to tell before.

// What is said of a placement whose patch is gone.
const (
	GapLost  = "lost: the code there was replaced, by the program or by a kernel uprobe that has gone; hits since then are not counted"
	GapUnder = "another tool's breakpoint, as a kernel uprobe's, was over the probe: hits meanwhile are not counted"
	GapAgain = "lost for a while: the code there was replaced, by the program or by a kernel uprobe that has gone; hits until that was seen are not counted"
)

// NoteLost notes at the placements of sites of a space that their patches are gone, or that
// another tool's are over them. It gives those that are gone.
func (r *Planter) NoteLost(space *inferior.Space, sites []*breakpoint.Site) []*breakpoint.Site {
	lost, covered := space.Table.Lost(sites)
	noteGap(covered, GapUnder)
	noteGap(lost, GapLost, GapAgain, GapUnder)
	return lost
}

// noteGap notes at the placements of sites what of their hits is not counted, in the place
// of nothing or of what says less.
func noteGap(sites []*breakpoint.Site, gap string, less ...string) {
	for _, site := range sites {
		g, ok := site.Tag.(*probe.Consumers)
		if !ok { // a dead tracer's, which is being taken out
			continue
		}
		for _, pl := range g.List {
			if pl.Gap == "" || slices.Contains(less, pl.Gap) {
				pl.Gap = gap
			}
		}
	}
}

// lookRarely is how many times as long as the last look took the next one waits.
const lookRarely = 100

// LookForLost looks whether patches are gone, and plants them again.
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

// replant plants lost sites again: as traps, and as jumps those that were.
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
