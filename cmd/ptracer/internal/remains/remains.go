// Package remains tells of the probes that stay in processes without a tracer, and takes them
// out.
package remains

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/printable"
)

func parsePID(text string) (int, error) {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return 0, exit.Usage("%s: not a process id", text)
	}
	return pid, nil
}

// Of opens what stays in a process, given as the command line has it.
func Of(text string) (*engine.Resident, error) {
	pid, err := parsePID(text)
	if err != nil {
		return nil, err
	}
	return engine.OpenResident(pid)
}

// signalWait is how long a signal handler may take that has interrupted code of
// ptracer's.
const signalWait = 5 * time.Second

// Stop takes probes out of a process; of one that has none of those that
// were left on purpose, what a tracer has left that was killed.
func Stop(w io.Writer, text string, asJSON bool) error {
	pid, err := parsePID(text)
	if err != nil {
		return err
	}
	r, err := engine.OpenResident(pid)
	if errors.Is(err, engine.ErrNotResident) {
		found, err2 := engine.Clean(pid)
		if found || err2 != nil {
			return err2
		}
	}
	if err != nil {
		return err
	}
	var seconds float64
	if r.Running() {
		seconds = time.Since(r.Planted).Seconds()
	}
	if err := r.Stop(signalWait); err != nil {
		return err
	}
	if err := Write(w, r, seconds, asJSON); err != nil {
		return err // what it has found out can be read again
	}
	return r.Collect()
}

// Write writes what was found out, in seconds (0: not known): a table of the
// places, and what handlers say.
func Write(w io.Writer, r *engine.Resident, seconds float64, asJSON bool) error {
	places, err := r.Placements()
	if err != nil {
		return err
	}
	results, err := r.Results()
	if err != nil {
		return err
	}
	handled := map[string]bool{}
	for _, x := range results {
		handled[x.Location] = true
	}
	locations := r.Locations()
	var counted []engine.Placement
	for _, pl := range places {
		if !handled[locations[pl.Probe-1]] {
			counted = append(counted, pl)
		}
	}
	t := tally.Tally{Seconds: seconds}
	t.Rows = tally.RowsOf(counted, asJSON, func(pl *engine.Placement) bool { return tally.IsNamed(locations[pl.Probe-1]) })
	t.Uncounted, err = r.Uncounted()
	if asJSON {
		err = errors.Join(err, show.WriteJSON(w, t.Objects()))
		return errors.Join(err, writeResultLines(w, results, tally.NamesOf(locations, places), &t))
	}
	if len(t.Rows) > 0 {
		err = errors.Join(err, printable.Write(w, t.Table()...))
	}
	missing := tally.GapsOf(places)
	if t.Uncounted > 0 {
		missing = append(missing, fmt.Sprintf(tally.Uncounted, t.Uncounted))
	}
	err = errors.Join(err, printable.Write(w, missing...))
	return errors.Join(err, WriteResults(w, results, &t))
}

// writeResultLines writes what handlers say as JSON; names are those of their locations.
func writeResultLines(w io.Writer, results []engine.ResidentResult, names map[string]string, t *tally.Tally) error {
	for _, x := range results {
		l := tally.ResultLine{Probe: names[x.Location], Seconds: t.Seconds, Uncounted: t.Uncounted}
		if err := tally.WriteResult(w, l, x.Result); err != nil {
			return err
		}
	}
	return nil
}

// WriteResults writes what handlers say as text.
func WriteResults(w io.Writer, results []engine.ResidentResult, t *tally.Tally) error {
	for _, x := range results {
		if len(results) > 1 {
			if err := printable.Write(w, printable.Name(x.Location)); err != nil {
				return err
			}
		}
		if err := x.Result.Text(w, 80); err != nil {
			return err
		}
	}
	if len(results) == 0 || t.Seconds == 0 {
		return nil
	}
	return printable.Write(w, show.In("counted", t.Seconds))
}
