package printable

import (
	"errors"
	"strings"
)

// Liner is implemented by errors with a text that has several lines on purpose.
type Liner interface {
	error
	Lines() []string
}

// Lines returns an error's text as the intended lines: each of several joined errors has a line, a
// Liner has its own lines, and any other line end belongs to a name in the text. Lines does not
// escape the text; Write does.
func Lines(err error) []string {
	text := err.Error()
	if l, ok := err.(Liner); ok {
		return l.Lines()
	}
	if !strings.Contains(text, "\n") {
		return []string{text}
	}
	lines, rest := []string{""}, text
	last := func() *string { return &lines[len(lines)-1] }
	for i, e := range causes(err) {
		before, after, ok := strings.Cut(rest, e.Error())
		if !ok {
			return []string{text} // it describes its cause in other words
		}
		if i > 0 && before == "\n" { // as errors.Join writes it
			lines, before = append(lines, ""), ""
		}
		inner := Lines(e)
		*last() += before + inner[0]
		lines, rest = append(lines, inner[1:]...), after
	}
	*last() += rest
	return lines
}

// causes returns the errors that an error wraps, in the order of its text.
func causes(err error) (list []error) {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		list = e.Unwrap()
	default:
		list = []error{errors.Unwrap(err)}
	}
	var there []error
	for _, e := range list {
		if e != nil {
			there = append(there, e)
		}
	}
	return there
}
