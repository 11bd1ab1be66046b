package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/printable"
)

// row is one line of count: a place's hits, of one process or of all.
type row struct {
	Probe  string   `json:"probe"`
	Also   []string `json:"also,omitempty"` // other names of the place that were asked for
	PID    int      `json:"pid"`            // 0: of all processes
	Hits   uint64   `json:"hits"`
	Method string   `json:"method"`
	Gap    string   `json:"gap,omitempty"` // what of the hits is not counted
	named  bool     // asked for by name, not found by a glob
}

// tally is count's result.
type tally struct {
	rows      []row
	seconds   float64 // that were counted; 0: not known
	uncounted uint64  // hits of all places together that are in no row
}

// rowsOf gives each place a row, with byPID one for each process; the most often hit
// come first. A place that several probes are at has one number: that of the first that
// names it, or else of the first. Places that could not be probed have no row.
func rowsOf(places []engine.Placement, byPID bool, named func(*engine.Placement) bool) []row {
	type key struct {
		name string
		pid  int
	}
	index := map[key]int{}
	var rows []row
	for _, p := range distinct(places, named) {
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
			rows = append(rows, row{Probe: k.name, PID: k.pid})
		}
		r := &rows[at]
		r.Hits += p.Hits
		r.named = r.named || p.named
		r.Method = join(r.Method, methodOf(&p.Placement))
		if p.Gap != "" && r.Gap == "" {
			r.Gap = p.Gap
		}
		for _, name := range p.also {
			if !slices.Contains(r.Also, name) {
				r.Also = append(r.Also, name)
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), cmp.Compare(a.Probe, b.Probe), cmp.Compare(a.PID, b.PID))
	})
	return rows
}

// methodOf is what serves a place.
func methodOf(p *engine.Placement) string {
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

// shown leaves out what a glob found and nobody hit.
func shown(rows []row) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Hits == 0 && !r.named })
}

// told are the rows that JSON has: those, and what a gap is to be told of.
func told(rows []row) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Hits == 0 && !r.named && r.Gap == "" })
}

// summary is the closing line of a table: how many rows there were, where some were left
// out, and over which time they counted.
func (t *tally) summary(leftOut bool) string {
	if !leftOut {
		return in("counted", t.seconds)
	}
	hit := 0
	for _, r := range t.rows {
		if r.Hits > 0 {
			hit++
		}
	}
	return in(fmt.Sprintf("%d of %s hit", hit, plural(len(t.rows), "place")), t.seconds)
}

// table gives the lines of count's result.
func (t *tally) table() []string {
	keep := shown(t.rows)
	if len(keep) == 0 {
		return []string{t.summary(true)}
	}
	cells := [][]string{{"PROBE", "HITS", "METHOD"}}
	for _, r := range keep {
		cells = append(cells, []string{r.Probe, strconv.FormatUint(r.Hits, 10), r.Method})
	}
	lines := align(cells, 1)
	if len(keep) < len(t.rows) || t.seconds > 0 {
		lines = append(lines, t.summary(len(keep) < len(t.rows)))
	}
	for _, r := range keep {
		for _, name := range r.Also {
			lines = append(lines, fmt.Sprintf("%s is the same place as %s", printable.Name(name), printable.Name(r.Probe)))
		}
	}
	return lines
}

// failedPlace is a place that could not be probed, in JSON: it has no number.
type failedPlace struct {
	Probe string `json:"probe"`
	PID   int    `json:"pid"`
	Error string `json:"error"`
}

// failures are those of the places that could not be probed. That a process has ended
// meanwhile is none: it makes no hits.
func failures(places []onePlace) (list []failedPlace) {
	for _, p := range places {
		if p.Err != nil && !errors.Is(p.Err, engine.ErrGone) {
			list = append(list, failedPlace{p.Name, p.PID, root(p.Err).Error()})
		}
	}
	return list
}

// object is a row in JSON.
type object struct {
	row
	Seconds   float64 `json:"seconds,omitempty"`
	Uncounted uint64  `json:"uncounted,omitempty"`
}

// objects gives the rows of count's result as they are in JSON.
func (t *tally) objects() (list []object) {
	for _, r := range told(t.rows) {
		list = append(list, object{r, t.seconds, t.uncounted})
	}
	return list
}

// widest is a column's width at most: a name that is longer moves the rest of
// its own line only. Go's generic functions have names of hundreds of bytes.
const widest = 64

// writeTable writes cells as align gives them.
func writeTable(w io.Writer, cells [][]string, right int) error {
	return printable.Write(w, align(cells, right)...)
}

// align puts cells, each a name, in columns two blanks apart; those of column
// right are numbers.
func align(cells [][]string, right int) []string {
	var width []int
	shown := make([][]string, len(cells))
	for n, line := range cells {
		for i, c := range line {
			c = printable.Name(c)
			shown[n] = append(shown[n], c)
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], min(len(c), widest))
		}
	}
	lines := make([]string, len(cells))
	for n, line := range shown {
		text := ""
		for i, c := range line {
			if i == right {
				text += fmt.Sprintf("%*s  ", width[i], c)
			} else {
				text += fmt.Sprintf("%-*s  ", width[i], c)
			}
		}
		lines[n] = strings.TrimRight(text, " ")
	}
	return lines
}

// writeJSON writes one object a line.
func writeJSON[T any](w io.Writer, objects []T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, o := range objects {
		if err := enc.Encode(o); err != nil {
			return err
		}
	}
	return nil
}
