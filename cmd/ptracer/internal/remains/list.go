package remains

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/printable"
)

// Process is a line of the list.
type Process struct {
	PID     int       `json:"pid"`
	Comm    string    `json:"comm"`
	Planted time.Time `json:"planted"`
	Running bool      `json:"running"`
	Places  int       `json:"places"`
}

// List writes in which processes there are resident probes.
func List(w io.Writer, asJSON bool) error {
	list, err := engine.Residents()
	var lines []Process
	for _, r := range list {
		lines = append(lines, Process{r.PID, r.Command, r.Planted, r.Running(), r.Places()})
	}
	return errors.Join(err, WriteList(w, lines, asJSON))
}

// WriteList writes the lines of List.
func WriteList(w io.Writer, lines []Process, asJSON bool) error {
	if asJSON {
		return show.WriteJSON(w, lines)
	}
	if len(lines) == 0 {
		return printable.Write(w, "no resident probes in any process")
	}
	cells := [][]string{{"PID", "COMMAND", "PLANTED", "PLACES", "STATE"}}
	for _, l := range lines {
		cells = append(cells, []string{strconv.Itoa(l.PID), l.Comm, l.Planted.Local().Format(time.DateTime),
			strconv.Itoa(l.Places), map[bool]string{true: "running", false: "ended"}[l.Running]})
	}
	return show.WriteTable(w, cells, 0)
}
