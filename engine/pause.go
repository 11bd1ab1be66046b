package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/failure"
)

// Jumps come and go in pauses of all tasks of a space.

// armJumps plants jumps in one pause of the space's tasks. It gives back the
// sites where tasks were in the way.
func (s *session) armJumps(space *inferior.Space, ups []*breakpoint.Upgrade) (inside []*breakpoint.Site, err error) {
	all := ups
	if err = space.Table.Flush(); err == nil { // Arm would, while all wait
		ups, err = s.armBytes(space, ups)
	}
	if err != nil {
		for _, up := range ups {
			space.Table.Drop(up)
		}
		return nil, err
	}
	if len(ups) > 0 {
		inside, err = s.armHalted(space, ups)
	}
	for _, up := range all {
		for _, site := range up.Sites() {
			if !site.Jumps() {
				continue
			}
			for _, pl := range site.Tag.(*tag).list {
				pl.rung, pl.why = site.Rung, site.Reason
			}
		}
	}
	return inside, err
}

// armHalted is armJumps for jumps that take a pause.
func (s *session) armHalted(space *inferior.Space, ups []*breakpoint.Upgrade) (inside []*breakpoint.Site, err error) {
	c := s.comeback(space, ups)
	err = s.loop.WhileHalted(func(pause breakpoint.Pause) error {
		if len(s.loop.Sharing(space)) == 0 {
			ups = nil
			return ErrGone
		}
		if pause.Stuck() > 0 {
			for _, up := range ups {
				s.giveUp(space, up, errStuck)
			}
			return nil
		}
		if s.asksPointers(space) {
			known := s.learnPointers(space)
			if err := s.checkLines(space, known); err != nil {
				for _, up := range ups {
					space.Table.Drop(up)
				}
				ups = nil
				return err
			}
			if err := s.noteThreads(space, known); err != nil {
				return err
			}
		}
		ups, inside = s.free(space, c, ups)
		// First: we may die in between, and no task is to find itself in the
		// middle of a jump.
		err := s.moveIntoRuns(space, c.at)
		for i, err := range space.Table.Arm(pause, ups) {
			if err != nil {
				s.giveUp(space, ups[i], err)
			}
		}
		return err
	}, space)
	return inside, err
}

// giveUp lets go of a jump that was planned, and notes why its sites have none.
func (s *session) giveUp(space *inferior.Space, up *breakpoint.Upgrade, why error) {
	space.Table.Drop(up)
	for _, site := range up.Sites() {
		s.stayTrap(site, why)
	}
}

// moveIntoRuns has tasks that would go on in the middle of jumps that are going
// to be armed go on behind these: those that stand there, and those in the slots of
// the traps that were there before, also of sites that are gone. The latter's hits
// have been told.
func (s *session) moveIntoRuns(space *inferior.Space, at map[arch.Addr]*breakpoint.Upgrade) error {
	s.forgetSkips(space, at)
	var errs []error
	for _, p := range s.loop.Sharing(space) {
		for _, t := range p.Tasks {
			errs = append(errs, s.moveIntoRun(t, at))
		}
	}
	return errors.Join(errs...)
}

func (s *session) moveIntoRun(t *inferior.Task, at map[arch.Addr]*breakpoint.Upgrade) error {
	r, err := t.Regs()
	if err != nil || t.State == inferior.Gone {
		return nil
	}
	pc := arch.Addr(r[s.isa.PCReg()])
	now := *r
	fix, _, inSlot := t.Process.Space.Table.Locate(pc)
	if inSlot {
		if now, err = s.xol.Fixed(t, now, fix); err != nil {
			return err
		}
	}
	to := arch.Addr(now[s.isa.PCReg()])
	up := at[to]
	if up == nil || to == up.From && !inSlot {
		return nil // a task that has just come to the jump goes the right way
	}
	run, ok := up.Continue(to)
	if hit, site := up.Hit(to); site && !inSlot { // it has come to a site, and is going to hit
		run, ok = hit, true
	}
	if !ok {
		return fmt.Errorf("task %d: no way on behind the jump at %v", t.TID, up.From)
	}
	now[s.isa.PCReg()] = uint64(run)
	t.SetRegs(&now)
	return t.Flush()
}

// forgetSkips is for tasks that will come back to a site with a hit that has
// been told (addSkip): behind a jump it is told again.
func (s *session) forgetSkips(space *inferior.Space, at map[arch.Addr]*breakpoint.Upgrade) {
	space.Skips = slices.DeleteFunc(space.Skips, func(k inferior.Skip) bool {
		up := at[k.Addr]
		if up == nil {
			return false
		}
		site := space.Table.At(k.Addr)
		if site == nil || !slices.Contains(up.Sites(), site) {
			return false
		}
		for _, pl := range site.Tag.(*tag).list {
			pl.hits.Add(^uint64(0))
		}
		return true
	})
}

// downgrade makes traps of sites that are jumps.
func (s *session) downgrade(space *inferior.Space, sites []*breakpoint.Site, why string) error {
	if len(sites) == 0 {
		return nil
	}
	return s.loop.WhileHalted(func(pause breakpoint.Pause) error {
		if pause.Stuck() > 0 {
			return fmt.Errorf("%w: %w", errStuck, tasks.ErrBusy)
		}
		all, err := space.Table.Disarm(pause, sites, why)
		for _, site := range all {
			for _, pl := range site.Tag.(*tag).list {
				pl.rung, pl.why = site.Rung, why
			}
		}
		return err
	}, space)
}

// makeRoom makes traps of the jumps that displace anything in the n bytes at any
// of the addresses.
func (s *session) makeRoom(p *inferior.Process, addrs []arch.Addr, n int) error {
	table := p.Space.Table
	if !table.AnyJump() {
		return nil
	}
	var list []*breakpoint.Site
	seen := map[*breakpoint.Site]bool{}
	for _, a := range addrs {
		for _, site := range table.JumpsOver(a, n) {
			if !seen[site] {
				seen[site] = true
				list = append(list, site)
			}
		}
	}
	list = table.Sharing(list)
	s.near[p] = append(s.near[p], list...)
	s.crowded[p] = append(s.crowded[p], list...)
	return s.downgrade(p.Space, list, "another probe is near")
}

// unjump takes a handler out of the code behind jumps; hits are counted on.
func (s *session) unjump(h *opened) error {
	if !h.native {
		return nil
	}
	err := s.loop.Do(func() error {
		h.shut = true
		var errs []error
		for _, proc := range s.loop.Procs {
			var sites []*breakpoint.Site
			for _, site := range proc.Space.Table.Sites() {
				for _, pl := range site.Tag.(*tag).list {
					if pl.hook == nil && pl.probe.handler == h && site.Jumps() {
						sites = append(sites, site)
						break
					}
				}
			}
			if sites = proc.Space.Table.Sharing(sites); len(sites) > 0 {
				err := s.downgrade(proc.Space, sites, "")
				if err == nil {
					err = s.upgrade(proc, sites)
				}
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return s.unshare(h)
	})
	if errors.Is(err, ErrEnded) {
		<-s.done
		return nil
	}
	return err
}

// errJumpThere is of a write to code at a hit.
var errJumpThere = failure.Unsupportedf("a jump of ptracer's lies there, which can't be taken away during a hit")

// writeAtHit writes a process's memory while one of its tasks is at a hit.
func writeAtHit(t *inferior.Task, addr arch.Addr, data []byte) error {
	table := t.Process.Space.Table
	if len(table.JumpsOver(addr, len(data))) > 0 {
		return errJumpThere
	}
	return table.WriteOriginal(addr, data)
}

// sites are where a probe is, by process.
func (p *probe) sites() map[*inferior.Process][]*breakpoint.Site {
	list, seen := map[*inferior.Process][]*breakpoint.Site{}, map[*breakpoint.Site]bool{}
	for _, pl := range p.places {
		if pl.site != nil && !seen[pl.site] {
			seen[pl.site] = true
			list[pl.proc] = append(list[pl.proc], pl.site)
		}
	}
	return list
}

// withoutJumps makes traps of those of a probe's sites that are jumps: the probe
// is going to be taken from them.
func (s *session) withoutJumps(all map[*inferior.Process][]*breakpoint.Site) error {
	var errs []error
	for proc, sites := range all {
		sites = proc.Space.Table.Sharing(sites)
		all[proc] = sites
		var jumps []*breakpoint.Site
		for _, site := range sites {
			if site.Jumps() {
				jumps = append(jumps, site)
			}
		}
		errs = append(errs, s.downgrade(proc.Space, jumps, ""))
	}
	return errors.Join(errs...)
}

// restoreJumps makes jumps again of those of the sites that have other probes, and
// of those that had made room for what may be gone.
func (s *session) restoreJumps(all map[*inferior.Process][]*breakpoint.Site) error {
	var errs []error
	for proc, sites := range all {
		if s.loop.Procs[proc.PID] != proc || !jumping {
			continue
		}
		var left []*breakpoint.Site
		seen := map[*breakpoint.Site]bool{}
		for _, site := range slices.Concat(sites, s.crowded[proc]) {
			if !seen[site] && proc.Space.Table.At(site.Addr) == site && len(site.Tag.(*tag).list) > 0 && !site.Jumps() {
				left = append(left, site)
			}
			seen[site] = true
		}
		errs = append(errs, s.upgrade(proc, left))
		s.crowded[proc] = slices.DeleteFunc(s.crowded[proc], func(site *breakpoint.Site) bool {
			return proc.Space.Table.At(site.Addr) != site || site.Jumps()
		})
	}
	return errors.Join(errs...)
}
