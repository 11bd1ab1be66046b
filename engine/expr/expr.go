// Package expr reads the language in which values of a program are asked for: in conditions, in
// fields of records, in a debugger. It knows how an expression is written, not what its names mean.
//
// # Values
//
//	size  req.URL.Path  order->total  ns::counter  names of the program
//	arg0 ret $rbx pid                              words of the hit, see packages filter and bind
//	12 0x1f 0b101 4_096 10u 'a' '\n' "text"        numbers, characters and strings
//
// # Operators
//
// The operators are Go's with Go's precedence, so that a & 7 == 0 compares a & 7; those of C that Go
// does not have are understood, too:
//
//	||
//	&&
//	== != < <= > >=   =~ !~ (strings: "foo*" is a prefix, "foo" the whole)
//	+ - | ^
//	* / % << >> & &^
//	! - ^ ~ * &        in front of a value
//	x.y x->y x[i] x[i:j] f(x) (T)x
//
// A dot reaches through a pointer, and an arrow to a member of what is none: which of both is meant is
// never in doubt. A cast in C's form needs a type that can be told from a value: (T *)x, (struct T)x,
// (unsigned char)x, or (T)x in front of a name or number.
//
// The package is pure; it imports the standard library only.
package expr

import (
	"cmp"
	"errors"
	"strings"
)

// ErrSyntax is wrapped by all errors of Parse.
var ErrSyntax = errors.New("expression")

// Limits of an expression.
const (
	MaxText   = 4096 // bytes
	maxDepth  = 64   // of nesting
	maxString = 200  // bytes of a literal
)

// Error is a mistake in the text, at a byte offset.
type Error struct {
	Text string
	Pos  int
	Msg  string
	What string // what the text is for: the name of a flag; "": a filter
}

// Error returns the message, and below it the text with a caret at the mistake.
func (e *Error) Error() string { return strings.Join(e.Lines(), "\n") }

// Lines returns the lines of Error: the text is a single line, whatever characters it has.
func (e *Error) Lines() []string {
	what := cmp.Or(e.What, "filter")
	if e.Text == "" {
		return []string{what + ": " + e.Msg}
	}
	line, col := e.Text, e.Pos
	if i := strings.LastIndexByte(line[:col], '\n'); i >= 0 {
		line, col = line[i+1:], col-i-1
	}
	head := line[:col]
	line, _, _ = strings.Cut(line, "\n")
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, head)
	return []string{what + ": " + e.Msg, "  " + line, "  " + indent + "^"}
}

// Unwrap makes errors.Is find ErrSyntax.
func (e *Error) Unwrap() error { return ErrSyntax }

// Source is an expression's text, to tell where a mistake is.
type Source struct {
	Text string
	What string // see Error
}

// Fail returns an Error at an offset.
func (s Source) Fail(pos int, msg string) error {
	return &Error{s.Text, min(max(pos, 0), len(s.Text)), msg, s.What}
}
