package show

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ptracer/ptracer/printable"
)

// Columns is how wide a result may be.
func Columns(out *Output) int {
	if width, _, ok := Terminal(out.to); ok {
		return width
	}
	return 80
}

// Terminal is w's size if it is a terminal; one that does not know its size
// gets the usual one.
func Terminal(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width == 0 || height == 0 {
		width, height = 80, 24
	}
	return width, height, true
}

// Screen shows a table again and again in the same place of a terminal.
type Screen struct {
	w     io.Writer // nil: nowhere
	lines int       // drawn last time
	next  time.Time // when there may be another table
}

// NewScreen is on a terminal; nil: on none.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w} }

// between is how many times as long as a table takes to make there is none: to make it
// takes the time of the session's thread.
const between = 20

// Show draws a table, unless it is not seen, or one was just made.
func (s *Screen) Show(table func() []string) {
	if s.w == nil || time.Now().Before(s.next) {
		return
	}
	begin := time.Now()
	s.Draw(table())
	s.next = time.Now().Add(between * time.Since(begin))
}

// Draw replaces what was drawn by as many of the lines as there is room for.
func (s *Screen) Draw(lines []string) {
	if s.w == nil {
		return
	}
	width, height, ok := Terminal(s.w)
	if !ok {
		return
	}
	s.replace(Fit(lines, width, height))
}

// Clear takes the table away.
func (s *Screen) Clear() {
	if s.w != nil {
		s.replace(nil)
	}
}

// replace goes up to the first line drawn, clears to the end of the screen
// (ECMA-48: CUU, ED), and draws anew.
func (s *Screen) replace(lines []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.lines)
	}
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.w, b.String()) // a terminal that is gone tells by SIGHUP
}

// ShowStatus replaces the line that the cursor is in (ECMA-48: EL).
func ShowStatus(w io.Writer, line string) { _, _ = io.WriteString(w, "\r\x1b[K"+line) }

// Fit cuts lines to a terminal's size, with one line left for the cursor. A
// long line keeps its end, where the numbers are.
func Fit(lines []string, width, height int) []string {
	fitted := make([]string, 0, height)
	for _, l := range lines {
		if len(fitted) >= height-1 {
			break
		}
		l = printable.Text(l)
		if r := []rune(l); len(r) > width {
			tail := min(width/2, 32)
			l = string(r[:width-tail-1]) + "~" + string(r[len(r)-tail:])
		}
		fitted = append(fitted, l)
	}
	return fitted
}
