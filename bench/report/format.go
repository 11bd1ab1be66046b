package report

import (
	"fmt"
	"math"
	"strconv"
)

// Format writes a figure in a unit, with as many digits as are meaningful: "2.2 ns", "48 µs", "1.5
// MB", "640x".
func Format(v float64, u Unit) string {
	switch u {
	case Nanoseconds:
		return scaled(v, 1000, []string{"ns", "µs", "ms", "s"})
	case Bytes:
		return scaled(v, 1000, []string{"B", "kB", "MB", "GB"})
	case Times:
		return digits(v) + "x"
	}
	return digits(v)
}

// scaled writes a figure in the largest of some units in which it is at least 1.
func scaled(v, step float64, units []string) string {
	i := 0
	for ; math.Abs(v) >= step*0.9995 && i < len(units)-1; i++ {
		v /= step
	}
	return digits(v) + " " + units[i]
}

// digits writes at most three digits before and behind the point together, and larger numbers in
// full.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a < 9999.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// text writes a cell: the median, and the spread as half its width in percent, or as its ends if
// the width exceeds the median.
func (c *Cell) text(u Unit) string {
	if !c.Measured() {
		return ""
	}
	if c.Refused {
		return "?"
	}
	s := Format(c.Median, u)
	half := (c.High - c.Low) / 2
	switch {
	case len(c.Values) == 1 || c.High == c.Low:
	case half <= c.Median:
		s += fmt.Sprintf(" ±%.0f%%", 100*half/c.Median)
	default:
		s += fmt.Sprintf(" (%s to %s)", Format(c.Low, u), Format(c.High, u))
	}
	return s
}

// unit returns a row's unit.
func (t *Table) unit(r *Row) Unit {
	if r.Unit != "" {
		return r.Unit
	}
	return t.Unit
}
