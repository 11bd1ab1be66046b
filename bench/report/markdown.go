package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Markdown writes the report as a section of a page: BENCHMARKS.md has it.
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
		fmt.Fprintf(&b, "- %s: %s\n", line[0], line[1])
	}
	if r.Ended != "" {
		fmt.Fprintf(&b, "- **Not complete**: %s\n", r.Ended)
	}
	b.WriteByte('\n')
	for _, line := range r.Method {
		b.WriteString(line + "\n")
	}
	for _, t := range r.Tables {
		t.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n", t.Title)
	for _, note := range t.Notes {
		b.WriteString(escape(note) + "\n")
	}
	if len(t.Notes) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("| |")
	for _, column := range t.Columns {
		b.WriteString(" " + escape(column) + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.Columns)) + "\n")
	notes := &footnotes{}
	var missing []string
	for _, r := range append(append([]*Row{}, t.Rows...), t.Ratios...) {
		if r.Why != "" {
			missing = append(missing, fmt.Sprintf("- %s: %s", r.Name, r.Why))
			continue
		}
		b.WriteString("| " + escape(r.Name) + " |")
		for _, column := range t.Columns {
			b.WriteString(" " + escape(notes.cell(r, column, t.unit(r))) + " |")
		}
		b.WriteByte('\n')
	}
	if len(notes.lines) > 0 {
		b.WriteString("\n" + escape(strings.Join(notes.lines, "<br>\n")) + "\n")
	}
	if len(missing) > 0 {
		b.WriteString("\nNot there:\n\n" + escape(strings.Join(missing, "\n")) + "\n")
	}
}

// escape keeps what Markdown would take for its own.
func escape(s string) string { return strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`).Replace(s) }
