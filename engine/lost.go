package engine

import (
	"slices"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A program that throws away, or replaces, a page of its code throws our patches away,
// too, and the kernel does not tell. To have its system calls watched for that would cost it more
// than is gained: it is looked at where results are read, and when probes or the process
// go. At its end a process has no memory any more: so its first task is to tell before.

// What is said of a placement whose patch is gone.
const (
	gapLost  = "lost: the code there was replaced, by the program or by a kernel uprobe that has gone; hits since then are not counted"
	gapUnder = "another tool's breakpoint, as a kernel uprobe's, was over the probe: hits meanwhile are not counted"
	gapAgain = "lost for a while: the code there was replaced, by the program or by a kernel uprobe that has gone; hits until that was seen are not counted"
)

// noteLost notes at the placements of sites of a space that their patches are gone, or that
// another tool's are over them. It gives those that are gone.
func (s *session) noteLost(space *inferior.Space, sites []*breakpoint.Site) []*breakpoint.Site {
	lost, covered := space.Table.Lost(sites)
	noteGap(covered, gapUnder)
	noteGap(lost, gapLost, gapAgain, gapUnder)
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

// onExiting is a task that is about to end, which can't be held.
func (s *session) onExiting(t *inferior.Task) error {
	space := t.Process.Space
	if t.TID == t.Process.PID && !t.Process.Silent {
		s.noteLost(space, space.Table.Sites())
		s.noteCopies(t.Process)
	}
	t.State = inferior.Running
	return ptrace.Cont(t.TID, 0)
}

// lookRarely is how many times as long as the last look took the next one waits.
const lookRarely = 100

// lookForLost looks whether patches are gone, and plants them again.
func (s *session) lookForLost() {
	if now() < s.nextLook {
		return
	}
	start := now()
	for _, p := range s.loop.Procs {
		if p.Silent || p.Stale || p.VFork != nil {
			continue
		}
		s.noteCopies(p)
		lost := s.noteLost(p.Space, p.Space.Table.Sites())
		if len(lost) == 0 {
			continue
		}
		if err := s.replant(p, lost); err != nil && !ptrace.IsGone(err) {
			s.loop.Warn(p, "probes that were lost: %v", err)
		}
	}
	s.nextLook = now() + lookRarely*(now()-start)
}

// replant plants lost sites again: as traps, and as jumps those that were.
func (s *session) replant(p *inferior.Process, lost []*breakpoint.Site) error {
	var jumps []*breakpoint.Site
	for _, site := range p.Space.Table.Sharing(lost) {
		if site.Jumps() {
			jumps = append(jumps, site)
		}
	}
	if err := s.jump.Downgrade(p.Space, jumps, "the program's page was replaced"); err != nil || s.loop.Procs[p.PID] != p {
		return err
	}
	for _, site := range p.Space.Table.Replant(append(lost, jumps...)) {
		for _, pl := range probe.Of(site).List {
			if pl.Gap == gapLost {
				pl.Gap = gapAgain
			}
		}
	}
	if err := s.jump.Upgrade(p, jumps); err != nil {
		return err
	}
	return s.jumpAgain(p)
}
