package job

import (
	"errors"
	"fmt"
	"io"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
)

// Leave lets the process go with its probes in it, and says what stays.
func (j *Job) Leave(out *show.Output) error {
	err := j.Session.Leave()
	<-j.drained
	places := j.Distinct()
	stay := 0
	for i := range places {
		if places[i].Err == nil {
			stay++
		}
	}
	if j.Options.JSON {
		err = errors.Join(err, show.WriteJSON(out, residentLines(places)))
	} else if err == nil {
		TellLeft(j.stderr, j.Options.PIDs[0], places, stay)
	}
	return errors.Join(err, out.Close())
}

// ResidentLine is what has become of a place.
type ResidentLine struct {
	Probe    string `json:"probe"`
	PID      int    `json:"pid"`
	Resident bool   `json:"resident"`
	Error    string `json:"error,omitempty"`
}

func residentLines(places []tally.Place) (lines []ResidentLine) {
	for i := range places {
		l := ResidentLine{Probe: places[i].Name, PID: places[i].PID, Resident: places[i].Err == nil}
		if !l.Resident {
			l.Error = places[i].Err.Error()
		}
		lines = append(lines, l)
	}
	return lines
}

// maxGone is how many places that could not stay are told.
const maxGone = 10

// TellLeft says how many places stay in a process, and why others do not.
func TellLeft(stderr io.Writer, pid int, places []tally.Place, stay int) {
	gone := len(places) - stay
	for i, told := 0, 0; i < len(places) && told < maxGone; i++ {
		if places[i].Err != nil {
			told++
			show.Say(stderr, "%s: %v", places[i].Name, places[i].Err)
		}
	}
	if gone > maxGone {
		show.Say(stderr, "and %d more; 'ptracer probes --summary' says why", gone-maxGone)
	}
	of := show.Plural(stay, "place")
	if gone > 0 {
		of = fmt.Sprintf("%d of %s", stay, show.Plural(len(places), "place"))
	}
	show.Say(stderr, "%s in %d stay without a tracer: 'ptracer read %d' prints what they count, 'ptracer stop %d' takes them out", of, pid, pid, pid)
}
