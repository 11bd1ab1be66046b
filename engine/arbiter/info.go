package arbiter

import (
	"cmp"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/symbols/location"
)

// TracerInfo describes a tracer.
type TracerInfo struct {
	ID        int
	Name      string
	PID       int
	UID       uint32
	Since     time.Time
	Processes []int
	Probes    []string // locations; beside Hits the places' name, where they have one
	Hits      []uint64 // of these, if requested
	Handlers  int
	Holds     []Hold
	Controls  []Control
	Missed    uint64 // events
	Late      bool   // a hold of it has expired, and it has made no request since
}

// Hold is a task that a tracer keeps stopped.
type Hold struct {
	PID, TID int
	Since    time.Time
	Until    time.Time // zero: no limit
}

// Control is a process that a tracer alone may write to.
type Control struct {
	PID     int
	Until   time.Time
	Asked   bool // the tracer asked for it; else a write has taken it
	Waiting int  // tracers that wait for it
}

// Info describes the tracer, without hit counts.
func (t *Tracer) Info() TracerInfo { return t.info(false) }

func (t *Tracer) info(hits bool) TracerInfo {
	i := TracerInfo{ID: t.nr, Name: t.id.Name, PID: t.id.PID, UID: t.id.UID, Since: t.since, Missed: t.Total(), Late: t.late.Load()}
	for _, p := range t.live() {
		name := p.spec.Location
		if hits {
			name = placeName(p.spec.Location, func() []engine.Placement { return t.Placements(p.id) })
			i.Hits = append(i.Hits, t.Hits(p.id))
		}
		i.Probes = append(i.Probes, name)
	}
	t.mu.Lock()
	i.Processes, i.Handlers = t.processes(), len(t.handlers)
	t.mu.Unlock()
	for _, g := range t.in() {
		g.tellOf(t, &i)
	}
	slices.SortFunc(i.Holds, func(x, y Hold) int { return x.TID - y.TID })
	slices.SortFunc(i.Controls, func(x, y Control) int { return x.PID - y.PID })
	return i
}

// placeName is the name of a probe's places, or its location if they have none.
func placeName(text string, places func() []engine.Placement) string {
	loc, err := location.Parse(text)
	if err != nil || loc.IsPattern() {
		return text
	}
	var names []string
	for _, pl := range places() {
		names = append(names, pl.Name)
	}
	return cmp.Or(loc.PlaceName(names), text)
}

// tellOf adds to i what a tracer has in a group.
func (g *group) tellOf(t *Tracer, i *TracerInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for tid, hs := range g.holds {
		if h := hs[t]; h != nil {
			i.Holds = append(i.Holds, Hold{h.pid, tid, h.since, h.until})
		}
	}
	for pid, l := range g.leases {
		if l.of == t {
			i.Controls = append(i.Controls, Control{pid, l.until, l.explicit, len(g.waiting[pid])})
		}
	}
}

// Others describes the tracers that share processes with this one.
func (t *Tracer) Others() (list []TracerInfo) {
	var others []*Tracer
	for _, g := range t.in() {
		for _, u := range g.others(t) {
			if !slices.Contains(others, u) && slices.ContainsFunc(u.Processes(), t.sees) {
				others = append(others, u)
			}
		}
	}
	for _, u := range others {
		list = append(list, u.Info())
	}
	slices.SortFunc(list, func(x, y TracerInfo) int { return x.ID - y.ID })
	return list
}
