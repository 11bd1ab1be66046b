// Package report holds the results of a run of package bench, and writes them: for a terminal, as
// Markdown, JSON, lines for benchstat, or a chart.
//
// The package is pure: it measures nothing, uses no process, and writes the same text for the same
// report on every machine. A report can be read back from JSON, so that one run can be written in
// every form. It imports package printable only.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Report is one run.
type Report struct {
	Version string        `json:"version"` // of ptracer
	Command string        `json:"command"` // a command that repeats the run
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took_ns"`
	Rounds  int           `json:"rounds"`          // that have begun
	Ended   string        `json:"ended,omitempty"` // why the run ended before all was measured
	Machine Machine       `json:"machine"`
	Method  []string      `json:"method"` // how the run measured, one sentence each
	Tables  []*Table      `json:"tables"`
}

// Machine describes where the figures come from.
type Machine struct {
	CPU         string   `json:"cpu"`
	Arch        string   `json:"arch"`
	CPUs        int      `json:"cpus"` // CPUs that the run may use
	Kernel      string   `json:"kernel"`
	Virtual     string   `json:"virtual"`     // the hypervisor, or "no sign of a hypervisor"
	Mitigations []string `json:"mitigations"` // against the CPU's flaws; they cost time
	Governor    string   `json:"governor"`
	Load        string   `json:"load"` // of other processes, when the run began
	Rights      string   `json:"rights"`
	Pinned      string   `json:"pinned"` // what was bound to which CPU
}

// Unit is the unit of a table's figures.
type Unit string

// Units.
const (
	Nanoseconds Unit = "ns"
	Bytes       Unit = "B"
	Times       Unit = "x" // a ratio
	Number      Unit = "n"
)

// Table has figures of one kind: rows are ways, columns are cases.
type Table struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Unit    Unit     `json:"unit"`
	Notes   []string `json:"notes,omitempty"`
	Columns []string `json:"columns"`
	Rows    []*Row   `json:"rows"`
	Ratios  []*Row   `json:"ratios,omitempty"` // of rows, by column

	ratios [][3]string // label, row, row: ratios for Finish to compute
}

// Row is one way.
type Row struct {
	Name  string           `json:"name"`
	Group string           `json:"group,omitempty"` // the owner of the way: ptracer, kernel, reference, peer
	Unit  Unit             `json:"unit,omitempty"`  // if it differs from the table's
	Why   string           `json:"why,omitempty"`   // why it has no figures at all
	Cells map[string]*Cell `json:"cells,omitempty"`
}

// Cell is one way in one case: a figure for each round.
type Cell struct {
	Values []float64 `json:"values,omitempty"`
	Rounds []int     `json:"rounds,omitempty"` // the round of each value
	// The median, and the ends of the spread: see Spread.
	Median  float64 `json:"median"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Why     string  `json:"why,omitempty"`     // why there is no figure, or not one for each round
	Refused bool    `json:"refused,omitempty"` // a ratio with a spread larger than itself
}

// Table returns the table with an id, and makes it if there is none yet.
func (r *Report) Table(id, title string, unit Unit, notes ...string) *Table {
	for _, t := range r.Tables {
		if t.ID == id {
			return t
		}
	}
	t := &Table{ID: id, Title: title, Unit: unit, Notes: notes}
	r.Tables = append(r.Tables, t)
	return t
}

// Find returns the table with an id, nil if there is none.
func (r *Report) Find(id string) *Table {
	for _, t := range r.Tables {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// Row returns the row with a name, and adds it at the end if there is none yet.
func (t *Table) Row(name, group string) *Row {
	for _, r := range t.Rows {
		if r.Name == name {
			return r
		}
	}
	r := &Row{Name: name, Group: group, Cells: map[string]*Cell{}}
	t.Rows = append(t.Rows, r)
	return r
}

// Column adds a column if it does not exist.
func (t *Table) Column(name string) {
	if !slices.Contains(t.Columns, name) {
		t.Columns = append(t.Columns, name)
	}
}

// cell returns the cell of a row in a column, and makes it if there is none yet.
func (r *Row) cell(column string) *Cell {
	if r.Cells == nil {
		r.Cells = map[string]*Cell{}
	}
	c := r.Cells[column]
	if c == nil {
		c = &Cell{}
		r.Cells[column] = c
	}
	return c
}

// Add adds a round's figure.
func (r *Row) Add(column string, round int, v float64) {
	c := r.cell(column)
	c.Values, c.Rounds = append(c.Values, v), append(c.Rounds, round)
	c.Median, c.Low, c.High = Spread(c.Values)
}

// Fail records why there is no figure. If only some rounds have none, the reason is shown beside
// the others.
func (r *Row) Fail(column, why string) { r.cell(column).Why = why }

// Measured reports whether a cell has a figure.
func (c *Cell) Measured() bool { return c != nil && len(c.Values) > 0 }

// measured reports whether a row has a figure anywhere.
func (r *Row) measured() bool {
	for _, c := range r.Cells {
		if c.Measured() {
			return true
		}
	}
	return false
}

// Ratio asks for a row of ratios of one row to another, in each column.
func (t *Table) Ratio(label, row, to string) {
	t.ratios = append(t.ratios, [3]string{label, row, to})
}

// Finish computes the ratios, and combines reasons: a row without figures that has the same reason
// in all cells shows it once.
func (r *Report) Finish() {
	for _, t := range r.Tables {
		t.Ratios = nil
		for _, ask := range t.ratios {
			t.addRatio(ask[0], ask[1], ask[2])
		}
		for _, row := range t.Rows {
			row.gather()
		}
	}
}

// addRatio compares two rows round by round: measurements close in time share the machine's other
// load.
func (t *Table) addRatio(label, name, to string) {
	out := &Row{Name: label, Unit: Times, Cells: map[string]*Cell{}}
	a, b := t.find(name), t.find(to)
	if a == nil || b == nil {
		return
	}
	for _, column := range t.Columns {
		x, y := a.Cells[column], b.Cells[column]
		if !x.Measured() || !y.Measured() {
			continue
		}
		ratioOf(out.cell(column), x, y)
	}
	if out.measured() {
		t.Ratios = append(t.Ratios, out)
	}
}

// ratioOf fills in the ratio of two cells. A round with a divisor of 0 or less counts as the
// largest of all ratios.
func ratioOf(c, x, y *Cell) {
	var all []float64
	for i, round := range x.Rounds {
		switch j := slices.Index(y.Rounds, round); {
		case j < 0:
		case y.Values[j] <= 0:
			all = append(all, math.Inf(1))
		default:
			c.Values, c.Rounds = append(c.Values, x.Values[i]/y.Values[j]), append(c.Rounds, round)
			all = append(all, x.Values[i]/y.Values[j])
		}
	}
	c.Median, c.Low, c.High = Spread(all)
	told := len(all) > 1 && c.High < math.Inf(1) && c.High-c.Low <= c.Median // false for NaN, too
	if c.Refused = !told; c.Refused {
		c.Median, c.Low, c.High = 0, 0, 0
	}
}

func (t *Table) find(name string) *Row {
	for _, r := range t.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// gather moves a reason that all cells of a row without figures share to the row.
func (r *Row) gather() {
	if r.measured() || r.Why != "" || len(r.Cells) == 0 {
		return
	}
	why := ""
	for _, c := range r.Cells {
		if why != "" && c.Why != why {
			return
		}
		why = c.Why
	}
	r.Why, r.Cells = why, nil
}

// JSON writes the report as one object on one line.
func (r *Report) JSON(w io.Writer) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Read reads the output of JSON.
func Read(from io.Reader) (*Report, error) {
	r := &Report{}
	if err := json.NewDecoder(from).Decode(r); err != nil {
		return nil, fmt.Errorf("not a report of 'ptracer bench --json': %w", err)
	}
	if len(r.Tables) == 0 && r.Version == "" {
		return nil, fmt.Errorf("not a report of 'ptracer bench --json': it has no tables")
	}
	return r, nil
}
