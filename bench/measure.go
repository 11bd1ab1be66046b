package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// errLost is returned for a way that has not counted each hit.
var errLost = errors.New("it does not count right")

// call is the function that a Process calls, and how often that reaches the site.
type call struct {
	addr    uint64
	perCall int
}

// timed calls a function for about the time each, after a warm-up of a quarter of that, in which it
// finds out how many calls to make. It returns ns per hit, of all threads together, and the number
// of hits, including the warm-up.
func timed(p *target.Process, c call, each time.Duration) (ns float64, hits uint64, err error) {
	calls := 8
	for {
		took, err := p.Run(target.Order{Addr: c.addr, Calls: calls})
		if err != nil {
			return 0, 0, err
		}
		hits += took.Calls * uint64(c.perCall)
		if took.Time >= each/4 {
			calls = max(1, int(float64(calls)*float64(each)/float64(took.Time)))
			break
		}
		calls *= min(16, max(2, int(each/3/max(took.Time, 1))))
	}
	took, err := p.Run(target.Order{Addr: c.addr, Calls: calls})
	if err != nil {
		return 0, 0, err
	}
	n := took.Calls * uint64(c.perCall)
	return float64(took.Time) / float64(n), hits + n, nil
}

// hit measures one way at one site. It returns ns per hit, without the cost of the call without a
// probe.
func (r *run) hit(w *way, s target.Site, threads int) (net float64, err error) {
	p, err := r.hits.Start(target.Options{Threads: threads, Trap: w.trap})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	c := call{s.Entry, s.PerCall}
	bare, _, err := timed(p, c, r.each/2)
	if err != nil {
		return 0, err
	}
	if w.function != "" {
		c = call{r.hits.Addr(w.function), 1}
	}
	probe := w.probe
	if w.start != nil {
		var other *target.Process
		if other, probe, err = w.start(s); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, other.Close()) }()
		p = other
	}
	ns, err := r.probed(w, p, s, c, probe)
	if err != nil || w.gross {
		return ns, err
	}
	return ns - bare, nil
}

// probed measures with the probe; it returns ns per hit.
func (r *run) probed(w *way, p *target.Process, s target.Site, c call, open prober) (float64, error) {
	probe, err := open(p, s)
	if err != nil {
		return 0, err
	}
	ns, calls, err := timed(p, c, r.each)
	if err != nil {
		return 0, errors.Join(err, probe.Close())
	}
	hits, err := probe.Hits()
	if err := errors.Join(err, probe.Close()); err != nil {
		return 0, err
	}
	switch {
	case w.uncounted, hits == calls, w.loses && p.Threads > 1:
		return ns, nil
	case w.slips && p.Threads > 1: // each hit that it has seen took that long
		return ns * float64(calls) / float64(max(hits, 1)), nil
	}
	return 0, fmt.Errorf("%w: %d of %d hits", errLost, hits, calls)
}
