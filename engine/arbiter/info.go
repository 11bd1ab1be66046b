package arbiter

import (
	"cmp"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/symbols/location"
)

// TracerInfo tells of a tracer.
type TracerInfo struct {
	ID        int
	Name      string
	PID       int
	UID       uint32
	Since     time.Time
	Processes []int
	Probes    []string // locations; beside Hits the places' name, where they have one
	Hits      []uint64 // of these, if asked for
	Handlers  int
	Holds     []Hold
	Controls  []Control
	Missed    uint64 // events
	Late      bool   // it has not let go in time of a task that it held, nor asked for anything since
}

// Hold is a task that a tracer keeps stopped.
type Hold struct {
	PID, TID int
	Since    time.Time
	Until    time.Time // zero: for ever
}

// Control is a process that a tracer alone writes to.
type Control struct {
	PID     int
	Until   time.Time
	Asked   bool // for by the tracer, else taken by a write
	Waiting int  // tracers that wait for it
}

// Info tells of the tracer, but for hits.
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

// placeName is the name of a probe's places, or its location.
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

// tellOf adds what a tracer has in a group.
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

// Others are the tracers that share the processes of this one.
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
