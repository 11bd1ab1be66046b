package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// errLost is of a way that did not count each hit.
var errLost = errors.New("it does not count right")

// call is what a Process is to call, and how often that comes to the site.
type call struct {
	addr    uint64
	perCall int
}

// timed calls a function for about as long as it is told, after a warm-up of a
// quarter of that, in which it finds out how often. It gives ns a hit, of all
// threads together, and the number of hits, those of the warm-up included.
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

// hit measures one way at one site: ns a hit, less what it costs to get there
// without a probe.
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

// probed measures with the probe: ns a hit.
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
	case w.slips && p.Threads > 1: // each that it saw took that long
		return ns * float64(calls) / float64(max(hits, 1)), nil
	}
	return 0, fmt.Errorf("%w: %d of %d hits", errLost, hits, calls)
}
