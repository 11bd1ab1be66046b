// Package tally sums up what has been counted: each place once, whichever probes are at it, with
// its hits, its gaps, and how it is served.
package tally

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/printable"
)

// Row is one line of count: a place's hits, of one process or of all.
type Row struct {
	Probe  string   `json:"probe"`
	Also   []string `json:"also,omitempty"` // other names of the place that were asked for
	PID    int      `json:"pid"`            // 0: of all processes
	Hits   uint64   `json:"hits"`
	Method string   `json:"method"`
	Gap    string   `json:"gap,omitempty"` // what of the hits is not counted
	named  bool     // asked for by name, not found by a glob
}

// Tally is count's result.
type Tally struct {
	Rows      []Row
	Seconds   float64 // that were counted; 0: not known
	Uncounted uint64  // hits of all places together that are in no row
}

// RowsOf gives each place a row, with byPID one for each process; the most often hit
// come first. A place that several probes are at has one number: that of the first that
// names it, or else of the first. Places that could not be probed have no row.
func RowsOf(places []engine.Placement, byPID bool, named func(*engine.Placement) bool) []Row {
	type key struct {
		name string
		pid  int
	}
	index := map[key]int{}
	var rows []Row
	for _, p := range Distinct(places, named) {
		if p.Err != nil {
			continue
		}
		k := key{name: p.Name}
		if byPID {
			k.pid = p.PID
		}
		at, ok := index[k]
		if !ok {
			at = len(rows)
			index[k] = at
			rows = append(rows, Row{Probe: k.name, PID: k.pid})
		}
		r := &rows[at]
		r.Hits += p.Hits
		r.named = r.named || p.named
		r.Method = join(r.Method, MethodOf(&p.Placement))
		if p.Gap != "" && r.Gap == "" {
			r.Gap = p.Gap
		}
		for _, name := range p.also {
			if !slices.Contains(r.Also, name) {
				r.Also = append(r.Also, name)
			}
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), cmp.Compare(a.Probe, b.Probe), cmp.Compare(a.PID, b.PID))
	})
	return rows
}

// MethodOf is what serves a place.
func MethodOf(p *engine.Placement) string {
	if p.Rung == breakpoint.Auto {
		return "none" // yet: it is an IFUNC's, which has not been bound
	}
	return p.Rung.String()
}

// join adds one to a list of words, once.
func join(list, one string) string {
	switch {
	case list == "":
		return one
	case slices.Contains(strings.Split(list, ","), one):
		return list
	}
	return list + "," + one
}

// shown leaves out what a glob found and no call hit.
func shown(rows []Row) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Hits == 0 && !r.named })
}

// told are the rows that JSON has: those, and what a gap is to be told of.
func told(rows []Row) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Hits == 0 && !r.named && r.Gap == "" })
}

// summary is the closing line of a table: how many rows there were, where some were left
// out, and over which time they counted.
func (t *Tally) summary(leftOut bool) string {
	if !leftOut {
		return show.In("counted", t.Seconds)
	}
	hit := 0
	for _, r := range t.Rows {
		if r.Hits > 0 {
			hit++
		}
	}
	return show.In(fmt.Sprintf("%d of %s hit", hit, show.Plural(len(t.Rows), "place")), t.Seconds)
}

// Table gives the lines of count's result.
func (t *Tally) Table() []string {
	keep := shown(t.Rows)
	if len(keep) == 0 {
		return []string{t.summary(true)}
	}
	cells := [][]string{{"PROBE", "HITS", "METHOD"}}
	for _, r := range keep {
		cells = append(cells, []string{r.Probe, strconv.FormatUint(r.Hits, 10), r.Method})
	}
	lines := show.Align(cells, 1)
	if len(keep) < len(t.Rows) || t.Seconds > 0 {
		lines = append(lines, t.summary(len(keep) < len(t.Rows)))
	}
	for _, r := range keep {
		for _, name := range r.Also {
			lines = append(lines, fmt.Sprintf("%s is the same place as %s", printable.Name(name), printable.Name(r.Probe)))
		}
	}
	return lines
}

// FailedPlace is a place that could not be probed, in JSON: it has no number.
type FailedPlace struct {
	Probe string `json:"probe"`
	PID   int    `json:"pid"`
	Error string `json:"error"`
}

// Failures are those of the places that could not be probed. That a process has ended
// meanwhile is none: it makes no hits.
func Failures(places []Place) (list []FailedPlace) {
	for _, p := range places {
		if p.Err != nil && !errors.Is(p.Err, engine.ErrGone) {
			list = append(list, FailedPlace{p.Name, p.PID, exit.Root(p.Err).Error()})
		}
	}
	return list
}

// Object is a row in JSON.
type Object struct {
	Row
	Seconds   float64 `json:"seconds,omitempty"`
	Uncounted uint64  `json:"uncounted,omitempty"`
}

// Objects gives the rows of count's result as they are in JSON.
func (t *Tally) Objects() (list []Object) {
	for _, r := range told(t.Rows) {
		list = append(list, Object{r, t.Seconds, t.Uncounted})
	}
	return list
}
