package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ptracer/ptracer/printable"
)

// Markdown writes the report as a section of a page, as in bench/results.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	for _, line := range [][2]string{
		{"Machine", fmt.Sprintf("%s, %s, %d CPUs, %s", m.CPU, m.Arch, m.CPUs, m.Virtual)},
		{"Kernel", m.Kernel + "; mitigations: " + orNone(m.Mitigations)},
		{"Governor", m.Governor},
		{"Load before", m.Load},
		{"Rights", m.Rights},
		{"Tied to a CPU", m.Pinned},
		{"Command", "`" + r.Command + "`"},
		{"Version, date", r.Version + ", " + r.Date.Format("2006-01-02")},
		{"Rounds", fmt.Sprintf("%d, in %s", r.Rounds, r.Took.Round(time.Second))},
	} {
		writeLine(&b, "- "+line[0]+": "+line[1])
	}
	if r.Ended != "" {
		writeLine(&b, "- **Not complete**: "+r.Ended)
	}
	writeLine(&b, "")
	for _, line := range r.Method {
		writeLine(&b, line)
	}
	for _, t := range r.Tables {
		t.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) markdown(b *strings.Builder) {
	_ = printable.Write(b, "", "### "+t.Title, "")
	for _, note := range t.Notes {
		writeLine(b, escape(note))
	}
	if len(t.Notes) > 0 {
		writeLine(b, "")
	}
	line := "| |"
	for _, column := range t.Columns {
		line += " " + escape(column) + " |"
	}
	_ = printable.Write(b, line, "|---|"+strings.Repeat("---|", len(t.Columns)))
	notes := &footnotes{}
	var missing []string
	for _, r := range append(append([]*Row{}, t.Rows...), t.Ratios...) {
		if r.Why != "" {
			missing = append(missing, fmt.Sprintf("- %s: %s", r.Name, r.Why))
			continue
		}
		line := "| " + escape(r.Name) + " |"
		for _, column := range t.Columns {
			line += " " + escape(notes.cell(r, column, t.unit(r))) + " |"
		}
		writeLine(b, line)
	}
	for i, note := range notes.lines {
		if i == 0 {
			writeLine(b, "")
		}
		if note = escape(note); i < len(notes.lines)-1 {
			note += "<br>"
		}
		writeLine(b, note)
	}
	if len(missing) > 0 {
		_ = printable.Write(b, "", "Not there:", "")
	}
	for _, line := range missing {
		writeLine(b, escape(line))
	}
}

// escape escapes characters that Markdown interprets.
func escape(s string) string { return strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`).Replace(s) }
