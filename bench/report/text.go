package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ptracer/ptracer/printable"
)

// Text writes the report for a terminal with width columns.
func (r *Report) Text(w io.Writer, width int) error {
	var b strings.Builder
	for _, line := range r.heading() {
		writeFolded(&b, line, width)
	}
	for _, t := range r.Tables {
		t.text(&b, width)
	}
	writeLine(&b, "")
	for _, line := range r.Method {
		writeFolded(&b, line, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// heading describes where the figures come from.
func (r *Report) heading() []string {
	m := r.Machine
	lines := []string{
		fmt.Sprintf("%s, %s, %d CPUs (%s), %s", m.CPU, m.Arch, m.CPUs, m.Virtual, m.Kernel),
		fmt.Sprintf("governor: %s; load before: %s; %s; mitigations: %s", m.Governor, m.Load, m.Rights, orNone(m.Mitigations)),
		"tied to a CPU: " + m.Pinned,
		fmt.Sprintf("ptracer %s, %s, %s in %s: %s", r.Version, r.Date.Format("2006-01-02"), rounds(r.Rounds), r.Took.Round(100*time.Millisecond), r.Command),
	}
	if r.Ended != "" {
		lines = append(lines, "NOT COMPLETE: "+r.Ended)
	}
	return lines
}

func rounds(n int) string {
	if n == 1 {
		return "one round"
	}
	return fmt.Sprintf("%d rounds", n)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// gap is the space between two columns.
const gap = "  "

// text writes a table; columns that do not fit beside each other are written as further blocks.
func (t *Table) text(b *strings.Builder, width int) {
	writeLine(b, "")
	writeLine(b, t.Title)
	for _, note := range t.Notes {
		writeFolded(b, note, width)
	}
	notes := &footnotes{}
	rows := append(append([]*Row{}, t.Rows...), t.Ratios...)
	names := 0
	for _, r := range rows {
		names = max(names, utf8.RuneCountInString(r.Name))
	}
	cells := t.cells(rows, notes)
	for first := 0; first < len(t.Columns) || first == 0; {
		widths, used := []int{}, names
		for i := first; i < len(t.Columns); i++ {
			wide := utf8.RuneCountInString(t.Columns[i])
			for _, row := range cells {
				if len(row) > 0 {
					wide = max(wide, utf8.RuneCountInString(row[i]))
				}
			}
			if used += len(gap) + wide; used > width && len(widths) > 0 {
				break
			}
			widths = append(widths, wide)
		}
		t.block(b, rows, cells, names, first, widths, width)
		if first += len(widths); len(widths) == 0 {
			break
		}
	}
	for _, line := range notes.lines {
		writeFolded(b, line, width)
	}
}

// block writes the columns from first on, with the widths in widths.
func (t *Table) block(b *strings.Builder, rows []*Row, cells [][]string, names, first int, widths []int, width int) {
	line := pad("", names)
	for i, wide := range widths {
		line += gap + pad(t.Columns[first+i], wide)
	}
	writeLine(b, strings.TrimRight(line, " "))
	for i, r := range rows {
		line := pad(r.Name, names)
		switch {
		case r.Why != "" && first == 0:
			writeHanging(b, line+gap, r.Why, width)
			continue
		case r.Why != "", len(widths) < len(t.Columns) && r.measured() && empty(cells[i][first:first+len(widths)]):
			continue
		}
		for j, wide := range widths {
			line += gap + pad(cells[i][first+j], wide)
		}
		writeLine(b, strings.TrimRight(line, " "))
	}
}

// empty reports whether a row has no text in some columns.
func empty(cells []string) bool {
	return !slices.ContainsFunc(cells, func(s string) bool { return s != "-" })
}

// cells returns the texts of all cells; a row without any figure has none.
func (t *Table) cells(rows []*Row, notes *footnotes) [][]string {
	out := make([][]string, len(rows))
	for i, r := range rows {
		if r.Why != "" {
			continue
		}
		for _, column := range t.Columns {
			out[i] = append(out[i], notes.cell(r, column, t.unit(r)))
		}
	}
	return out
}

// footnotes are reasons of single cells, each listed once.
type footnotes struct {
	lines   []string
	numbers map[string]int
	refused bool
}

// cell returns the text of a cell, with the number of its footnote.
func (f *footnotes) cell(r *Row, column string, u Unit) string {
	c := r.Cells[column]
	if c == nil {
		return "-"
	}
	s := c.text(u)
	if c.Refused && !f.refused {
		f.refused = true
		f.lines = append(f.lines, "? the spread is larger than the ratio, or there was one round only")
	}
	if c.Why == "" {
		return s
	}
	if f.numbers == nil {
		f.numbers = map[string]int{}
	}
	n, ok := f.numbers[c.Why]
	if !ok {
		n = len(f.numbers) + 1
		f.numbers[c.Why] = n
		f.lines = append(f.lines, fmt.Sprintf("[%d] %s", n, c.Why))
	}
	if s == "" {
		s = "-"
	}
	return s + fmt.Sprintf(" [%d]", n)
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

// writeLine writes one line, whatever characters it has.
func writeLine(b *strings.Builder, line string) { _ = printable.Write(b, line) }

// writeFolded writes a text in lines with the given width.
func writeFolded(b *strings.Builder, text string, width int) {
	for i, line := range fold(text, width) {
		if i > 0 {
			line = "  " + line
		}
		writeLine(b, line)
	}
}

// writeHanging writes a text behind a prefix, with further lines below the text's start.
func writeHanging(b *strings.Builder, before, text string, width int) {
	n := utf8.RuneCountInString(before)
	for i, line := range fold(text, max(width-n, 30)) {
		if i > 0 {
			before = strings.Repeat(" ", n)
		}
		writeLine(b, before+line)
	}
}

// fold divides a text into lines at its spaces, for lines of which all but the first may be
// indented by two columns.
func fold(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch n := utf8.RuneCountInString(line) + 1 + utf8.RuneCountInString(word); {
		case line == "":
			line = word
		case n > width-2:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
