// Package printable is the door through which all text for people goes. Names
// of functions, files, threads and tracers are chosen by programs and by other
// users. They can have in them what a terminal obeys (ESC [ 2 J), what turns a
// line around (U+202E), or the end of a line, behind which a line of their own
// begins. Here that becomes an escape that can be read: \x1b, \u202e, \n.
//
// A line is the unit: callers give lines, and their ends are written here only,
// so that an end of a line inside of one belongs to a name. JSON and profiles do
// not come by: they have names as they are.
//
// It is pure, and imports nothing of the module.
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

// Text is s with an escape in the place of each control character (C0, DEL, C1),
// each character that orders or joins others and is not seen itself (the bidi
// controls, U+FEFF and the rest of Unicode's class Cf), each end of a line or
// paragraph, and each byte that is not UTF-8. The escapes are those of Go's
// strings. What has been through it once stays as it is: it is for messages, in
// which some parts may be quoted already.
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

// Name is s as Text has it, and no other name is shown the same way: where there
// is an escape, or something that looks like one, each backslash of the name's own
// is two. It is for names that stand alone, such as the cells of tables, which may be
// typed again.
func Name(s string) string {
	if strings.IndexByte(s, '\\') >= 0 && (!clean(s) || escape.MatchString(s)) {
		s = strings.ReplaceAll(s, `\`, `\\`)
	}
	return Text(s)
}

// escape is what Text writes.
var escape = regexp.MustCompile(`\\([abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})`)

// clean reports whether there is nothing in s to be escaped.
func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return utf8.ValidString(s[i:]) && !strings.ContainsFunc(s[i:], hidden)
		}
	}
	return true
}

// hidden reports whether a character is not seen as itself.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// Write writes lines, each as Text has it, all at once.
func Write(w io.Writer, lines ...string) error {
	var b []byte
	for _, l := range lines {
		b = append(append(b, Text(l)...), '\n')
	}
	_, err := w.Write(b)
	return err
}

// Printf writes one line. The format has no end of a line: it is added.
func Printf(w io.Writer, format string, args ...any) error {
	return Write(w, fmt.Sprintf(format, args...))
}
