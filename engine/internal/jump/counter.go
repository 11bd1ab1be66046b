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

// WatchLines looks at a thread that begins: can it have a line of its own? If not, LeaveLines
// follows.
func (j *Jumps) WatchLines(t *inferior.Task) error {
	space := t.Process.Space
	if !space.LinesChecked || space.NoLines {
		return nil
	}
	pointer, err := j.inproc.ThreadPointer(t)
	if err == nil && pointer == 0 { // only at a program's beginning may a thread have no pointer
		err = inproc.ErrNoLines
	}
	if err == nil && j.inproc.FewerLines(space) {
		err = inproc.ErrNoLines
	}
	if err == nil || ptrace.IsGone(err) {
		return err
	}
	return j.LeaveLines(t.Process)
}

// LeaveLines makes all code in a process's space count by CPU, without lines, from now on.
func (j *Jumps) LeaveLines(p *inferior.Process) error {
	space := p.Space
	was := space.NoLines
	if space.NoLines = true; was || !space.LinesChecked {
		return nil
	}
	return j.PlanAgain(p)
}
