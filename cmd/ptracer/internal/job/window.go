package job

import (
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// window is the time over which all probes of a job count: moments of engine.Now.
type window struct {
	begin, end int64
	exit       int64 // the last end of a process that was told
}

// begin has all probes of running processes count from one moment on. Those of a command
// do from its start, for they are planted before its code runs.
func (j *Job) begin() error {
	if j.child != 0 || j.Options.Resident || j.Options.Listing {
		return nil
	}
	if j.before != nil {
		j.before()
	}
	at, err := j.Session.Begin(j.ids()...)
	if err == nil {
		j.window.begin = at
	}
	return err
}

// finish has all probes count up to one moment, if any process is left; otherwise that
// is the last process's end.
func (j *Job) finish(why Reason) {
	if why == allEnded {
		j.window.end = j.window.exit
		return
	}
	at, err := j.Session.Finish(j.ids()...)
	if j.window.end = at; at == 0 {
		j.window.end = engine.Now()
	}
	over := errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrGone)
	if err != nil && !over && !j.serverGone() {
		j.say("warning: the probes did not end at one moment: %v", err)
	}
}

func (j *Job) ids() (ids []event.ProbeID) {
	for _, p := range j.probes {
		ids = append(ids, p.id)
	}
	return ids
}

// counted is how long the probes have counted, 0 while that is not known.
func (j *Job) counted() time.Duration {
	w := j.window
	if w.begin == 0 || w.end <= w.begin {
		return 0
	}
	return time.Duration(w.end - w.begin)
}

// seconds is counted for JSON and tables.
func (j *Job) seconds() float64 { return j.counted().Seconds() }

// uncounted is how many hits of all places together are in no count, once it is over.
func (j *Job) uncounted() uint64 {
	if j.seconds() == 0 {
		return 0
	}
	return j.Session.Stats().Uncounted
}

// Outside reports whether a record is from before the window: a handler's probes are
// planted one after the other, and the first are hit before the last is there.
func (j *Job) Outside(h engine.Handler, at time.Duration) bool {
	if j.child != 0 || j.Options.Resident {
		return false
	}
	since := h.Since()
	return since == 0 || int64(at) < since
}

// limitCheck is how often the limits of handlers are looked at.
const limitCheck = 50 * time.Millisecond

// Limited has a job end when the limits of all its handlers are reached.
func (j *Job) Limited(g builtin.Guards, handlers func() []engine.Handler) {
	if g.Hits == 0 && g.Life == 0 {
		return
	}
	j.over = func() bool {
		return !slices.ContainsFunc(handlers(), func(h engine.Handler) bool { return !reached(h.Limits()) })
	}
}

// reached reports whether a limit lets nothing through any more.
func reached(list []builtin.LimitState) bool {
	return slices.ContainsFunc(list, func(l builtin.LimitState) bool {
		return l.Done || l.End > 0 && engine.Now() >= int64(l.End)
	})
}
