package job

import (
	"cmp"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// places are the places of the job's probes.
func (j *Job) places() (all []engine.Placement) {
	for _, p := range j.probes {
		all = append(all, j.Session.Placements(p.id)...)
	}
	return all
}

// Distinct are the places of the job's probes, each once.
func (j *Job) Distinct() []tally.Place { return tally.Distinct(j.places(), j.named()) }

// named tells whether a place's probe names it.
func (j *Job) named() func(*engine.Placement) bool {
	named := map[event.ProbeID]bool{}
	for _, p := range j.probes {
		named[p.id] = !p.loc.IsPattern()
	}
	return func(p *engine.Placement) bool { return named[p.Probe] }
}

// Tally is the present result of count.
func (j *Job) Tally(byPID bool) *tally.Tally {
	return &tally.Tally{Rows: tally.RowsOf(j.places(), byPID, j.named()), Seconds: j.seconds(), Uncounted: j.uncounted()}
}

// PlaceNames are what JSON calls the places of a job's probes: the same in all verbs, and
// the LOCATION as it was given where that is a pattern or has no one place. The session is
// asked once for each probe and process; pid 0 is all processes.
type PlaceNames map[ofProcess]string

// ofProcess is a probe of a job, by its number in it, in one process.
type ofProcess struct{ probe, pid int }

// Of is the name of probe i in a process.
func (n PlaceNames) Of(j *Job, i, pid int) string {
	k := ofProcess{i, pid}
	if _, known := n[k]; !known {
		n[k] = j.PlaceName(i, pid)
	}
	return n[k]
}

// Shown is what a line calls probe i: in text the LOCATION as it was given.
func (n PlaceNames) Shown(j *Job, i, pid int) string {
	if !j.Options.JSON {
		return j.Options.Locations[i]
	}
	return n.Of(j, i, pid)
}

// PlaceName asks the session for the name of probe i in a process; pid 0 is all, and so
// is one that the session does not know, as a child that it does not follow.
func (j *Job) PlaceName(i, pid int) string {
	p := &j.probes[i]
	id := j.numberOf(i)
	if p.loc.IsPattern() || id == 0 {
		return p.spec.Location
	}
	var own, all []string
	for _, pl := range j.Session.Placements(id) {
		if all = append(all, pl.Name); pl.PID == pid {
			own = append(own, pl.Name)
		}
	}
	if len(own) == 0 {
		own = all
	}
	return cmp.Or(p.loc.PlaceName(own), p.spec.Location)
}
