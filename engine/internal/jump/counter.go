package jump

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// OwnCounter reports whether only tasks of a placement's space add to its counter: no child of the
// process has been forked since.
func (j *Jumps) OwnCounter(pl *probe.Placement) bool {
	if pl.Counter.In == nil || pl.Site == nil {
		return false
	}
	g, ok := pl.Site.Tag.(*probe.Consumers)
	return ok && g.Shared == pl.Counter.In
}

// newCounter gives a placement a counter while its site is a trap. It fails if the placement has
// gone, which may happen while the jump is made, because tasks run.
func (j *Jumps) newCounter(pl *probe.Placement) (err error) {
	if pl.Site == nil {
		return ptrace.ErrGone
	}
	// Each resident probe has one number, which other processes read. An exit that is
	// not taken at each hit has fewer hits than the site.
	if pl.Sometimes() || j.inproc.Resident {
		return j.count(pl, nil)
	}
	g := probe.Of(pl.Site)
	if err := j.count(pl, g.Shared); err != nil {
		return err
	}
	g.Shared = pl.Counter.In
	return nil
}

// count makes a placement count in c, or with nil in a counter of its own.
func (j *Jumps) count(pl *probe.Placement, c *inproc.Tally) (err error) {
	if c == nil {
		if c, err = j.inproc.TakeCounter(); err != nil {
			return err
		}
	}
	c.Users++
	pl.Counter = probe.Counter{In: c, Base: c.Count()}
	return nil
}

// WatchThreadSlots looks at a thread that begins: can it have a slot of its own? If not, LeaveThreadSlots
// follows.
func (j *Jumps) WatchThreadSlots(t *inferior.Task) error {
	space := t.Process.Space
	if !space.ThreadSlotsChecked || space.NoThreadSlots {
		return nil
	}
	pointer, err := j.inproc.ThreadPointer(t)
	if err == nil && pointer == 0 { // only at a program's beginning may a thread have no pointer
		err = inproc.ErrNoThreadSlots
	}
	if err == nil && j.inproc.FewerThreadSlots(space) {
		err = inproc.ErrNoThreadSlots
	}
	if err == nil || ptrace.IsGone(err) {
		return err
	}
	return j.LeaveThreadSlots(t.Process)
}

// LeaveThreadSlots makes all code in a process's space count by CPU, without slots, from now on.
func (j *Jumps) LeaveThreadSlots(p *inferior.Process) error {
	space := p.Space
	was := space.NoThreadSlots
	if space.NoThreadSlots = true; was || !space.ThreadSlotsChecked {
		return nil
	}
	return j.PlanAgain(p)
}
