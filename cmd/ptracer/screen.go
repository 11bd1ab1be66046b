package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ptracer/ptracer/printable"
)

// screen shows a table again and again in the same place of a terminal.
type screen struct {
	w     io.Writer // nil: nowhere
	lines int       // drawn last time
	next  time.Time // when there may be another table
}

// newScreen is on the terminal at stderr, unless the result goes elsewhere or
// a command writes to the terminal too.
func newScreen(opt *options, stderr io.Writer) *screen {
	_, _, commandShows := terminal(os.Stdout)
	if _, _, ok := terminal(stderr); !ok || opt.json || opt.output != "" || len(opt.command) > 0 && commandShows {
		return &screen{}
	}
	return &screen{w: stderr}
}

// between is how many times as long as a table takes to make there is none: to make it
// takes the time of the session's thread.
const between = 20

// show draws a table, unless it is not seen, or one was just made.
func (s *screen) show(table func() []string) {
	if s.w == nil || time.Now().Before(s.next) {
		return
	}
	begin := time.Now()
	s.draw(table())
	s.next = time.Now().Add(between * time.Since(begin))
}

// draw replaces what was drawn by as many of the lines as there is room for.
func (s *screen) draw(lines []string) {
	if s.w == nil {
		return
	}
	width, height, ok := terminal(s.w)
	if !ok {
		return
	}
	s.replace(fit(lines, width, height))
}

// clear takes the table away.
func (s *screen) clear() {
	if s.w != nil {
		s.replace(nil)
	}
}

// replace goes up to the first line drawn, clears to the end of the screen
// (ECMA-48: CUU, ED), and draws anew.
func (s *screen) replace(lines []string) {
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

// showStatus replaces the line that the cursor is in (ECMA-48: EL).
func showStatus(w io.Writer, line string) { _, _ = io.WriteString(w, "\r\x1b[K"+line) }

// fit cuts lines to a terminal's size, with one line left for the cursor. A
// long line keeps its end, where the numbers are.
func fit(lines []string, width, height int) []string {
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
