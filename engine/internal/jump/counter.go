package jump

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// OwnCounter is whether only this space's tasks add to a placement's counter: no
// child of it has been forked.
func (j *Jumps) OwnCounter(pl *probe.Placement) bool {
	if pl.Counter.In == nil || pl.Site == nil {
		return false
	}
	g, ok := pl.Site.Tag.(*probe.Consumers)
	return ok && g.Shared == pl.Counter.In
}

// newCounter gives a placement a counter, while its site is a trap. What it lies in may
// have gone while its jump was being made, for which tasks run.
func (j *Jumps) newCounter(pl *probe.Placement) (err error) {
	if pl.Site == nil {
		return ptrace.ErrGone
	}
	// What resident probes find out is one number each. An exit that is one only
	// sometimes is hit less often than the site.
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

// count has a placement count in c; nil: in one of its own.
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

// WatchLines looks at a thread that begins: whether it can have a line of its own.
func (j *Jumps) WatchLines(t *inferior.Task) error {
	space := t.Process.Space
	if !space.LinesChecked || space.NoLines {
		return nil
	}
	pointer, err := j.inproc.ThreadPointer(t)
	if err == nil && pointer == 0 { // of a program that begins it is none yet; this one's maker has had one
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

// LeaveLines has all code in a process's space go by CPUs from now on.
func (j *Jumps) LeaveLines(p *inferior.Process) error {
	space := p.Space
	was := space.NoLines
	if space.NoLines = true; was || !space.LinesChecked {
		return nil
	}
	return j.PlanAgain(p)
}
