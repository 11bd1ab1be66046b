package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/ptracer/ptracer/printable"
)

// widest is a column's width at most: a name that is longer moves the rest of
// its own line only. Go's generic functions have names of hundreds of bytes.
const widest = 64

// WriteTable writes cells as Align gives them.
func WriteTable(w io.Writer, cells [][]string, right int) error {
	return printable.Write(w, Align(cells, right)...)
}

// Align puts cells, each a name, in columns two blanks apart; those of column
// right are numbers.
func Align(cells [][]string, right int) []string {
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
