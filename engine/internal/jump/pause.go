package jump

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// How jumps are written and removed: in pauses of all tasks of a space.

// armJumps writes jumps: those of one byte at once, the others in one pause of the space's tasks.
// It returns the sites that tasks were in the way of.
func (j *Jumps) armJumps(space *inferior.Space, ups []*breakpoint.Upgrade) (inside []*breakpoint.Site, err error) {
	all := ups
	if err = space.Table.Flush(); err == nil { // else Arm would do it in the pause
		ups, err = j.armBytes(space, ups)
	}
	if err != nil {
		for _, up := range ups {
			space.Table.Drop(up)
		}
		return nil, err
	}
	if len(ups) > 0 {
		inside, err = j.armHalted(space, ups)
	}
	for _, up := range all {
		for _, site := range up.Sites() {
			if !site.Jumps() {
				continue
			}
			for _, pl := range probe.Of(site).List {
				pl.Rung, pl.Why = site.Rung, site.Reason
			}
		}
	}
	return inside, err
}

// armHalted is armJumps for the jumps that need a pause.
func (j *Jumps) armHalted(space *inferior.Space, ups []*breakpoint.Upgrade) (inside []*breakpoint.Site, err error) {
	c := j.resumePoints(space, ups)
	err = j.loop.WhileHalted(func(pause breakpoint.Pause) error {
		if len(j.loop.Sharing(space)) == 0 {
			ups = nil
			return ptrace.ErrGone
		}
		if pause.Stuck() > 0 {
			for _, up := range ups {
				j.giveUp(space, up, ErrStuck)
			}
			return nil
		}
		if j.asksPointers(space) {
			known := j.inproc.LearnPointers(space)
			if err := j.inproc.CheckThreadSlots(space, known); err != nil {
				for _, up := range ups {
					space.Table.Drop(up)
				}
				ups = nil
				return err
			}
			if err := j.inproc.NoteThreads(space, known); err != nil {
				return err
			}
		}
		ups, inside = j.unblocked(space, c, ups)
		// The tasks first: if the tracer dies in between, no task may be in the middle
		// of a jump.
		err := j.moveIntoTrampolines(space, c.at)
		for i, err := range space.Table.Arm(pause, ups) {
			if err != nil {
				j.giveUp(space, ups[i], err)
			}
		}
		return err
	}, space)
	return inside, err
}

// giveUp drops a planned jump, and notes why its sites have none.
func (j *Jumps) giveUp(space *inferior.Space, up *breakpoint.Upgrade, why error) {
	space.Table.Drop(up)
	for _, site := range up.Sites() {
		j.stayTrap(site, why)
	}
}

// moveIntoTrampolines moves the tasks that would go on in the middle of a jump into its trampoline.
// These are tasks that stand there, and tasks in the slot of a trap that was there before; the
// trap's site may be gone. The hits of the latter have been served.
func (j *Jumps) moveIntoTrampolines(space *inferior.Space, at map[arch.Addr]*breakpoint.Upgrade) error {
	j.forgetSkips(space, at)
	var errs []error
	for _, p := range j.loop.Sharing(space) {
		for _, t := range p.Tasks {
			errs = append(errs, j.moveIntoTrampoline(t, at))
		}
	}
	return errors.Join(errs...)
}

// moveIntoTrampoline does this for one task.
func (j *Jumps) moveIntoTrampoline(t *inferior.Task, at map[arch.Addr]*breakpoint.Upgrade) error {
	r, err := t.Regs()
	if err != nil || t.State == inferior.Gone {
		return nil
	}
	pc := arch.Addr(r[j.isa.PCReg()])
	now := *r
	fix, _, inSlot := t.Process.Space.Table.Locate(pc)
	if inSlot {
		if now, err = j.xol.Fixed(t, now, fix); err != nil {
			return err
		}
	}
	to := arch.Addr(now[j.isa.PCReg()])
	up := at[to]
	if up == nil || to == up.From && !inSlot {
		return nil // the task has just come to the jump, and will take it
	}
	run, ok := up.Continue(to)
	if hit, site := up.Hit(to); site && !inSlot { // the task has come to a site inside, and is going to hit it
		run, ok = hit, true
	}
	if !ok {
		return fmt.Errorf("task %d: no way on behind the jump at %v", t.TID, up.From)
	}
	now[j.isa.PCReg()] = uint64(run)
	t.SetRegs(&now)
	return t.Flush()
}

// forgetSkips forgets the skips (xol.AddSkip) of tasks that will come back to a site with a hit
// that has been served. Behind the jump that hit is counted again, so one is taken off now.
func (j *Jumps) forgetSkips(space *inferior.Space, at map[arch.Addr]*breakpoint.Upgrade) {
	space.Skips = slices.DeleteFunc(space.Skips, func(k inferior.Skip) bool {
		up := at[k.Addr]
		if up == nil {
			return false
		}
		site := space.Table.At(k.Addr)
		if site == nil || !slices.Contains(up.Sites(), site) {
			return false
		}
		for _, pl := range probe.Of(site).List {
			pl.Hits.Add(^uint64(0))
		}
		return true
	})
}

// Downgrade makes traps of sites that are jumps, in a pause. why is noted at their placements.
func (j *Jumps) Downgrade(space *inferior.Space, sites []*breakpoint.Site, why string) error {
	if len(sites) == 0 {
		return nil
	}
	return j.loop.WhileHalted(func(pause breakpoint.Pause) error {
		if pause.Stuck() > 0 {
			return fmt.Errorf("%w: %w", ErrStuck, tasks.ErrBusy)
		}
		all, err := space.Table.Disarm(pause, sites, why)
		for _, site := range all {
			for _, pl := range probe.Of(site).List {
				pl.Rung, pl.Why = site.Rung, why
			}
		}
		return err
	}, space)
}

// MakeRoom makes traps of the jumps that displace any of the n bytes at each of the addresses.
func (j *Jumps) MakeRoom(p *inferior.Process, addrs []arch.Addr, n int) error {
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
	j.near[p] = append(j.near[p], list...)
	j.crowded[p] = append(j.crowded[p], list...)
	return j.Downgrade(p.Space, list, "another probe is near")
}

// WithoutJumps makes traps of those sites that are jumps, because a probe is going to be taken off
// them. It replaces the lists in all by lists that have the sites which share a jump with them,
// too.
func (j *Jumps) WithoutJumps(all map[*inferior.Process][]*breakpoint.Site) error {
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
		errs = append(errs, j.Downgrade(proc.Space, jumps, ""))
	}
	return errors.Join(errs...)
}

// RestoreJumps makes jumps again of those of the sites that still have probes, and of those that
// had made room for what may be gone.
func (j *Jumps) RestoreJumps(all map[*inferior.Process][]*breakpoint.Site) error {
	var errs []error
	for proc, sites := range all {
		if j.loop.Procs[proc.PID] != proc || !Enabled {
			continue
		}
		var left []*breakpoint.Site
		seen := map[*breakpoint.Site]bool{}
		for _, site := range slices.Concat(sites, j.crowded[proc]) {
			if !seen[site] && proc.Space.Table.At(site.Addr) == site && len(probe.Of(site).List) > 0 && !site.Jumps() {
				left = append(left, site)
			}
			seen[site] = true
		}
		errs = append(errs, j.Upgrade(proc, left))
		j.crowded[proc] = slices.DeleteFunc(j.crowded[proc], func(site *breakpoint.Site) bool {
			return proc.Space.Table.At(site.Addr) != site || site.Jumps()
		})
	}
	return errors.Join(errs...)
}

// armBytes writes the jumps of which one byte is written, as of a trap. No task can be in the
// middle of such a jump or see a part of it, so no pause is needed. It returns the jumps that need
// one.
func (j *Jumps) armBytes(space *inferior.Space, ups []*breakpoint.Upgrade) (left []*breakpoint.Upgrade, err error) {
	var bytes []*breakpoint.Upgrade
	for _, up := range ups {
		if up.Atomic() && !skipped(space, up) {
			bytes = append(bytes, up)
		} else {
			left = append(left, up)
		}
	}
	if len(bytes) == 0 {
		return left, nil
	}
	if known, err := j.knowsThreads(space); err != nil || !known {
		return ups, err // a pause tells for certain
	}
	for _, up := range bytes { // each by itself, so that nothing between them is written
		if err := space.Table.ArmByte(up); err != nil {
			j.giveUp(space, up, err)
		}
	}
	return left, nil
}

// skipped reports whether a task will come back to a jump's place with a hit that has been served.
func skipped(space *inferior.Space, up *breakpoint.Upgrade) bool {
	for _, k := range space.Skips {
		if k.Addr == up.From {
			return true
		}
	}
	return false
}

// knowsThreads learns what code behind jumps must know of a space's threads. It reports false if
// that needs a pause.
func (j *Jumps) knowsThreads(space *inferior.Space) (bool, error) {
	if !j.asksPointers(space) {
		return true, nil
	}
	known := inproc.Pointers{}
	all, err := j.loop.Visit(space, known.Learn)
	if err != nil || !all {
		return false, err
	}
	seen := map[uint64]bool{}
	for t, p := range known {
		if t.State == inferior.Gone || p.Err != nil {
			return false, nil // its pointer may be another thread's by now
		}
		if seen[p.To] && p.To != 0 {
			return false, nil
		}
		seen[p.To] = true
	}
	if err := j.inproc.CheckThreadSlots(space, known); err != nil {
		space.NoThreadSlots = false
		return false, nil
	}
	return true, j.inproc.NoteThreads(space, known)
}

// asksPointers reports whether there is anything to learn of the thread pointers of a space.
func (j *Jumps) asksPointers(space *inferior.Space) bool {
	return j.inproc.LooksAtThreadSlots(space) || space.Threads != 0 && !space.ThreadsNoted
}
