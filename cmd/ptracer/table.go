package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
)

// row is one line of count: a place's hits, of one process or of all.
type row struct {
	Probe string `json:"probe"`
	PID   int    `json:"pid"` // 0: of all processes
	Hits  uint64 `json:"hits"`
	Rung  string `json:"rung"`
	Gap   string `json:"gap,omitempty"` // what of the hits is not counted
	named bool   // asked for by name, not found by a glob
}

// rowsOf sums placements up by name and, with byPID, by process; the most
// often hit come first. Places that could not be probed have no row.
func rowsOf(places []engine.Placement, byPID bool, named func(*engine.Placement) bool) []row {
	type key struct {
		name string
		pid  int
	}
	index := map[key]int{}
	var rows []row
	for i := range places {
		p := &places[i]
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
		r.named = r.named || named(p)
		r.Rung = join(r.Rung, rungName(p))
		if p.Gap != "" && r.Gap == "" {
			r.Gap = p.Gap
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), cmp.Compare(a.Probe, b.Probe), cmp.Compare(a.PID, b.PID))
	})
	return rows
}

// rungName is what serves a place.
func rungName(p *engine.Placement) string {
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

// summary is the closing line of a table that left rows out.
func summary(rows []row) string {
	hit := 0
	for _, r := range rows {
		if r.Hits > 0 {
			hit++
		}
	}
	return fmt.Sprintf("%d of %s hit", hit, plural(len(rows), "place"))
}

// table gives the lines of count's result.
func table(rows []row) []string {
	keep := shown(rows)
	cells := [][]string{{"PROBE", "HITS", "RUNG"}}
	for _, r := range keep {
		cells = append(cells, []string{r.Probe, strconv.FormatUint(r.Hits, 10), r.Rung})
	}
	lines := align(cells, 1)
	switch {
	case len(keep) == 0:
		return []string{summary(rows)}
	case len(keep) < len(rows):
		lines = append(lines, summary(rows))
	}
	return lines
}

// widest is a column's width at most: a name that is longer moves the rest of
// its own line only. Go's generic functions have names of hundreds of bytes.
const widest = 64

// align puts cells in columns two blanks apart; those of column right are
// numbers.
func align(cells [][]string, right int) []string {
	var width []int
	for _, line := range cells {
		for i, c := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], min(len(c), widest))
		}
	}
	lines := make([]string, len(cells))
	for n, line := range cells {
		var b strings.Builder
		for i, c := range line {
			if i == right {
				fmt.Fprintf(&b, "%*s  ", width[i], c)
			} else {
				fmt.Fprintf(&b, "%-*s  ", width[i], c)
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
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
