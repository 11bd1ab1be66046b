package main

import "cmp"

// placeNames are what JSON calls the places of a job's probes: the same in all verbs, and
// the LOCATION as it was given where that is a pattern or has no one place. The session is
// asked once for each probe and process; pid 0 is all processes.
type placeNames map[ofProcess]string

// ofProcess is a probe of a job, by its number in it, in one process.
type ofProcess struct{ probe, pid int }

// of is the name of probe i in a process.
func (n placeNames) of(j *job, i, pid int) string {
	k := ofProcess{i, pid}
	if _, known := n[k]; !known {
		n[k] = j.placeName(i, pid)
	}
	return n[k]
}

// shown is what a line calls probe i: in text the LOCATION as it was given.
func (n placeNames) shown(j *job, i, pid int) string {
	if !j.opt.json {
		return j.opt.locations[i]
	}
	return n.of(j, i, pid)
}

// placeName asks the session for the name of probe i in a process; pid 0 is all, and so
// is one that the session does not know, as a child that it does not follow.
func (j *job) placeName(i, pid int) string {
	p := &j.probes[i]
	id := j.numberOf(i)
	if p.loc.IsPattern() || id == 0 {
		return p.spec.Location
	}
	var own, all []string
	for _, pl := range j.sess.Placements(id) {
		if all = append(all, pl.Name); pl.PID == pid {
			own = append(own, pl.Name)
		}
	}
	if len(own) == 0 {
		own = all
	}
	return cmp.Or(p.loc.PlaceName(own), p.spec.Location)
}
