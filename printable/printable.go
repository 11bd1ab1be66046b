// Package printable is the door for all text that users see. Programs and other users choose the
// names of functions, files, threads and tracers. A name may contain characters that a terminal
// obeys (ESC [ 2 J), that change the direction of text (U+202E), or that end the line, so that the
// name continues as a line of its own. This package replaces them by readable escapes: \x1b,
// \u202e, \n.
//
// The unit is a line: callers pass lines, and only this package writes their ends, so that a line
// end inside a line belongs to a name. JSON and profiles do not pass through here: they contain
// names unchanged.
//
// The package is pure, and imports nothing of the module.
package printable

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with an escape in place of each control character (C0, DEL, C1), each invisible
// character that orders or joins others (the bidi controls, U+FEFF and the rest of Unicode's class
// Cf), each end of a line or paragraph, and each byte that is not UTF-8. The escapes are those of
// Go's strings. Applying Text twice has the same result as once: it is for messages with parts that
// may be quoted already.
func Text(s string) string {
	if clean(s) {
		return s
	}
	var b []byte
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		switch r, size = utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case hidden(r):
			q := strconv.QuoteRuneToASCII(r)
			b = append(b, q[1:len(q)-1]...)
		default:
			b = append(b, s[i:i+size]...)
		}
	}
	return string(b)
}

// Name is Text with a unique result for each name: if there is an escape, or something that looks
// like one, each backslash of the name itself is doubled. It is for names that stand alone, such as
// the cells of tables, and that a user may type again.
func Name(s string) string {
	if strings.IndexByte(s, '\\') >= 0 && (!clean(s) || escape.MatchString(s)) {
		s = strings.ReplaceAll(s, `\`, `\\`)
	}
	return Text(s)
}

// escape matches the escapes that Text writes.
var escape = regexp.MustCompile(`\\([abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})`)

// clean reports whether s needs no escapes.
func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return utf8.ValidString(s[i:]) && !strings.ContainsFunc(s[i:], hidden)
		}
	}
	return true
}

// hidden reports whether a character is not visible as itself.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// Write writes lines, each as Text returns it, with one call of w.Write.
func Write(w io.Writer, lines ...string) error {
	var b []byte
	for _, l := range lines {
		b = append(append(b, Text(l)...), '\n')
	}
	_, err := w.Write(b)
	return err
}

// Printf writes one line. The format has no line end; Printf adds it.
func Printf(w io.Writer, format string, args ...any) error {
	return Write(w, fmt.Sprintf(format, args...))
}
