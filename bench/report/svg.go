package report

import (
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/printable"
)

// Chart selects the figures of a report to draw: a table's rows as bars on a logarithmic scale,
// from one or two columns.
type Chart struct {
	Table   string   // its id
	Columns []string // the first is drawn solid, the second, if any, light
	Legend  []string // the meaning of each column, in words
	Title   string
}

// Sizes of the drawing, in its own units.
const (
	chartWidth = 900
	plotLeft   = 300
	plotRight  = 800 // values stand behind a bar's end
	plotTop    = 76
	barHeight  = 9
	rowHeight  = 26
	rowAlone   = 17 // for a row with one bar
)

// SVG draws a chart that is readable on a light page and on a dark one. The lengths of bars are
// logarithmic: each line of the grid is ten times the one before.
func (r *Report) SVG(w io.Writer, c Chart) error {
	t := r.Find(c.Table)
	if t == nil || !slices.ContainsFunc(t.Rows, func(row *Row) bool { return c.shows(row) }) {
		return errors.New("nothing to draw: the run has no figure of a probe's hit")
	}
	d := drawing{chart: c, table: t}
	d.scale()
	d.bars()
	var b strings.Builder
	height := d.y + 44
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, height, chartWidth, height, escaped(c.Title))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="6"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<text class="title" x="16" y="28">%s</text>`+"\n", escaped(c.Title))
	d.legend(&b)
	d.grid(&b)
	b.WriteString(d.body.String())
	m := r.Machine
	fmt.Fprintf(&b, `<text class="foot" x="16" y="%d">%s</text>`+"\n</svg>\n", height-14,
		escaped(fmt.Sprintf("%s, %s, Linux %s, %s. Median of %s, less what the call costs; the scale is logarithmic.",
			m.CPU, m.Virtual, m.Kernel, r.Date.Format("2006-01-02"), rounds(r.Rounds))))
	_, err := io.WriteString(w, b.String())
	return err
}

// escaped escapes a text for XML, without characters that XML or a terminal does not show.
func escaped(s string) string { return html.EscapeString(printable.Text(s)) }

// style has a colour for each owner of ways, and other colours for a dark page.
const style = `<style>
svg{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:12px}
.page{fill:#ffffff}.title{font-size:17px;font-weight:600}text{fill:#1f2328}.foot,.axis,.why{fill:#59636e;font-size:11px}
.grid{stroke:#d1d9e0;stroke-width:1}.spread{stroke:#1f2328;stroke-width:1}.light{opacity:.45}.value{font-size:11px}
.ptracer{fill:#0969da}.kernel{fill:#bc4c00}.reference{fill:#6e7781}.peer{fill:#8250df}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}text{fill:#e6edf3}.foot,.axis,.why{fill:#9198a1}.grid{stroke:#3d444d}.spread{stroke:#e6edf3}
.ptracer{fill:#4493f8}.kernel{fill:#f0883e}.reference{fill:#9198a1}.peer{fill:#ab7df8}}
</style>
`

// drawing is the state of a chart while it is drawn.
type drawing struct {
	chart  Chart
	table  *Table
	lo, hi float64 // the scale's ends, powers of ten
	y      int     // the top of the next row
	body   strings.Builder
	groups []string // in the legend's order
}

// shows reports whether the chart draws a figure of a row.
func (c Chart) shows(r *Row) bool {
	return slices.ContainsFunc(c.Columns, func(column string) bool { return r.Cells[column].Measured() })
}

// scale covers all figures. Figures below the lowest line of the grid are drawn on that line.
func (d *drawing) scale() {
	d.lo, d.hi = math.Inf(1), 1
	for _, r := range d.table.Rows {
		for _, column := range d.chart.Columns {
			if c := r.Cells[column]; c.Measured() && c.Median > 0 {
				d.lo, d.hi = min(d.lo, c.Median), max(d.hi, c.Median)
			}
		}
	}
	d.lo = math.Pow(10, math.Floor(math.Log10(min(max(d.lo, 0.1), 1))))
	d.hi = math.Pow(10, math.Ceil(math.Log10(max(d.hi, 10*d.lo))))
}

// x is the horizontal position of a figure.
func (d *drawing) x(v float64) float64 {
	v = min(max(v, d.lo), d.hi)
	return plotLeft + (plotRight-plotLeft)*math.Log(v/d.lo)/math.Log(d.hi/d.lo)
}

func (d *drawing) bars() {
	d.y = plotTop + 8
	for _, r := range d.table.Rows {
		if !d.chart.shows(r) {
			continue
		}
		if !slices.Contains(d.groups, r.Group) {
			d.groups = append(d.groups, r.Group)
		}
		d.row(r)
	}
}

// row draws a row's name and its bars.
func (d *drawing) row(r *Row) {
	var cells []*Cell
	var classes []string
	for i, column := range d.chart.Columns {
		if c := r.Cells[column]; c.Measured() {
			cells, classes = append(cells, c), append(classes, [...]string{"", " light"}[min(i, 1)])
		}
	}
	height := rowHeight
	if len(cells) == 1 {
		height = rowAlone
	}
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-10, d.y+height/2, escaped(r.Name))
	for i, c := range cells {
		top := d.y + i*(barHeight+1)
		end := max(d.x(c.Median), plotLeft+1)
		fmt.Fprintf(&d.body, `<rect class="%s%s" x="%d" y="%d" width="%.1f" height="%d" rx="1"/>`, escaped(r.Group), classes[i], plotLeft, top, end-plotLeft, barHeight)
		middle := float64(top) + barHeight/2.0
		if c.High > c.Low {
			fmt.Fprintf(&d.body, `<path class="spread" d="M%.1f %.1fH%.1f"/>`, d.x(c.Low), middle, d.x(c.High))
		}
		fmt.Fprintf(&d.body, `<text class="value" x="%.1f" y="%.1f">%s</text>`+"\n", max(end, d.x(c.High))+5, middle+4,
			escaped(Format(c.Median, d.table.unit(r))))
	}
	d.y += height
}

// grid draws the grid lines.
func (d *drawing) grid(b *strings.Builder) {
	for v := d.lo; v <= d.hi*1.001; v *= 10 {
		x := d.x(v)
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %dV%d"/><text class="axis" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, plotTop, d.y, x, plotTop-4, tick(v, d.table.Unit))
	}
}

// tick returns the label of a line: a power of ten in a unit.
func tick(v float64, u Unit) string {
	units := map[Unit][]string{Nanoseconds: {"ns", "µs", "ms", "s"}, Bytes: {"B", "kB", "MB", "GB"}}[u]
	for len(units) > 1 && v >= 999.5 {
		v /= 1000
		units = units[1:]
	}
	s := fmt.Sprintf("%.3g", v)
	if len(units) > 0 {
		s += " " + units[0]
	}
	return s
}

// legend explains the colours, and the light bars.
func (d *drawing) legend(b *strings.Builder) {
	x := 16
	entry := func(class, text string) {
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="40" width="12" height="%d" rx="1"/><text x="%d" y="49">%s</text>`+"\n",
			escaped(class), x, barHeight, x+17, escaped(text))
		x += 17 + 7*len(text) + 16
	}
	for _, g := range d.groups {
		entry(g, g)
	}
	for i, text := range d.chart.Legend {
		entry([...]string{"reference", "reference light"}[min(i, 1)], text)
	}
}
