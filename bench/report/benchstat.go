package report

import (
	"io"
	"strings"
	"unicode"

	"github.com/ptracer/ptracer/printable"
)

// Benchstat writes a line for each figure of each round, in the format of golang.org/x/perf:
// benchstat compares two runs, or with -col /way the ways of one run.
func (r *Report) Benchstat(w io.Writer) error {
	var b strings.Builder
	for _, line := range [][2]string{
		{"goos", "linux"}, {"goarch", r.Machine.Arch}, {"pkg", "github.com/ptracer/ptracer/bench"},
		{"cpu", r.Machine.CPU}, {"kernel", r.Machine.Kernel}, {"virtual", r.Machine.Virtual},
	} {
		writeLine(&b, line[0]+": "+line[1])
	}
	// Not a key: benchstat would not compare runs with different values of it.
	_ = printable.Printf(&b, "# ptracer %s, %s, %s", r.Version, r.Date.Format("2006-01-02"), r.Command)
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			for _, column := range t.Columns {
				c := row.Cells[column]
				if !c.Measured() {
					continue
				}
				for _, v := range c.Values {
					_ = printable.Printf(&b, "Benchmark%s/way=%s/at=%s 1 %.6g %s", camel(t.ID), slug(row.Name), slug(column), v, perOp(t.unit(row)))
				}
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// perOp returns a unit in the form that benchmarks use.
func perOp(u Unit) string {
	switch u {
	case Nanoseconds:
		return "ns/op"
	case Bytes:
		return "B/op"
	}
	return "n/op"
}

// camel turns an id into a benchmark's name.
func camel(id string) string {
	if id == "" {
		return id
	}
	return strings.ToUpper(id[:1]) + id[1:]
}

// slug turns a text into one word of a benchmark's name, where "/", "=", spaces and "-" before
// final digits have a special meaning.
func slug(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsLetter(c) && c < 0x80, unicode.IsDigit(c):
			return c
		case c == '+':
			return c
		}
		return '_'
	}, s)
	for strings.Contains(s, "__") {
		s = strings.ReplaceAll(s, "__", "_")
	}
	return strings.Trim(s, "_")
}
