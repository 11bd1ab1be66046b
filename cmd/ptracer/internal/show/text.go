package show

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ptracer/ptracer/printable"
)

// OrDash is a text, or - where there is none.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// In says over which time something was counted, where that is known.
func In(what string, seconds float64) string {
	if seconds <= 0 {
		return what
	}
	return fmt.Sprintf("%s in %v", what, readable(time.Duration(seconds*float64(time.Second))))
}

// readable cuts a duration to the digits that mean something.
func readable(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

// Say writes one message, a line. An error that has several lines has them in one.
func Say(stderr io.Writer, format string, args ...any) {
	for i, a := range args {
		if err, is := a.(error); is {
			args[i] = strings.Join(printable.Lines(err), "; ")
		}
	}
	_ = printable.Printf(stderr, "ptracer: "+format, args...)
}

// Numbers are numbers with commas, or - where there are none.
func Numbers(list []int) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}

// Plural is a number of things: "1 place", "2 places".
func Plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
