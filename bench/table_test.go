package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// A table holds what was measured: rows are contenders, columns are cases.
type table struct {
	Title   string
	Unit    string
	Columns []string
	Rows    []*row
}

type row struct {
	Name  string
	Cells map[string]*cell
}

// A cell is one contender's turns at one case.
type cell struct {
	Median, Min, Max float64
	Turns            []float64
	Note             string `json:",omitempty"`
}

// add adds one turn's figure.
func (t *table) add(name, column string, v float64) *cell {
	c := t.cell(name, column)
	c.Turns = append(c.Turns, v)
	sorted := slices.Sorted(slices.Values(c.Turns))
	n := len(sorted)
	c.Min, c.Max, c.Median = sorted[0], sorted[n-1], (sorted[(n-1)/2]+sorted[n/2])/2
	return c
}

// cell is where a row and a column meet; both are made where they are new.
func (t *table) cell(name, column string) *cell {
	if !slices.Contains(t.Columns, column) {
		t.Columns = append(t.Columns, column)
	}
	i := slices.IndexFunc(t.Rows, func(r *row) bool { return r.Name == name })
	if i < 0 {
		i = len(t.Rows)
		t.Rows = append(t.Rows, &row{name, map[string]*cell{}})
	}
	if t.Rows[i].Cells[column] == nil {
		t.Rows[i].Cells[column] = &cell{}
	}
	return t.Rows[i].Cells[column]
}

// ratio compares two rows in each column, turn by turn: neighbours in time
// share what else the machine was doing. It is the median of the turns' ratios.
func (t *table) ratio(label, name, to string) {
	r := &table{}
	for _, column := range t.Columns {
		a, b := t.turns(name, column), t.turns(to, column)
		for i := range min(len(a), len(b)) {
			r.add(label, column, a[i]/b[i])
		}
	}
	t.Rows = append(t.Rows, r.Rows...)
}

func (t *table) turns(name, column string) []float64 {
	for _, r := range t.Rows {
		if c := r.Cells[column]; r.Name == name && c != nil {
			return c.Turns
		}
	}
	return nil
}

// print writes t for people, in Markdown.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s)\n\n", t.Title, t.Unit)
	tw := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	fmt.Fprintf(tw, "| \t| %s\t|\n", strings.Join(t.Columns, "\t| "))
	fmt.Fprintf(tw, "|---\t|%s\n", strings.Repeat("---\t|", len(t.Columns)))
	for _, r := range t.Rows {
		fmt.Fprintf(tw, "| %s", r.Name)
		for _, column := range t.Columns {
			fmt.Fprintf(tw, "\t| %s", r.Cells[column])
		}
		fmt.Fprint(tw, "\t|\n")
	}
	tw.Flush()
}

func (c *cell) String() string {
	switch {
	case c == nil:
		return ""
	case len(c.Turns) == 0:
		return c.Note
	}
	text := figure(c.Median)
	if len(c.Turns) > 1 {
		text += fmt.Sprintf(" (%s-%s)", figure(c.Min), figure(c.Max))
	}
	if c.Note != "" {
		text += " " + c.Note
	}
	return text
}

// figure writes a number with as many digits as mean something.
func figure(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// all is the tables of this run.
type all struct {
	Machine map[string]string
	Tables  []*table
}

var results all

func (a *all) add(t *table) *table {
	a.Tables = append(a.Tables, t)
	return t
}

// finish prints all tables and writes them to path.
func (a *all) finish(path string) error {
	a.Machine = machine()
	for _, t := range a.Tables {
		t.print(os.Stdout)
	}
	fmt.Printf("\n%v\n", a.Machine)
	text, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// machine says where the figures come from.
func machine() map[string]string {
	m := map[string]string{}
	for name, path := range map[string]string{"kernel": "/proc/sys/kernel/osrelease", "load": "/proc/loadavg"} {
		b, _ := os.ReadFile(path)
		m[name] = strings.TrimSpace(string(b))
	}
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch key = strings.TrimSpace(key); key {
		case "model name", "siblings":
			m[key] = strings.TrimSpace(value)
		}
	}
	return m
}
