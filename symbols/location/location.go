package location

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
)

// Location says in words where to probe:
//
//	[BINARY:]FUNCTION            where it is entered: see File.Body
//	[BINARY:]FUNCTION+OFFSET     an instruction; +0 is the first
//	[BINARY:]FUNCTION+*          every instruction
//	[BINARY:]FUNCTION%return     every exit
//	[BINARY:]*ADDRESS            an address, in BINARY one of its own vaddrs
//	[BINARY:]FILE:LINE           each place that a line of the source stands for
//	[BINARY:]FILE:LINE:COLUMN    those that begin in a column
//	[BINARY:]FUNCTION:LINE       those that are in a function, or were inlined from it
//
// In BINARY, FUNCTION and FILE '*' stands for any text and '?' for any one
// character; brackets stand for themselves (main.F[...] is a name in Go). A
// FUNCTION that is the name of one, such as Go's main.(*T).Get, means that one
// and is no pattern.
//
// BINARY ends at the first colon that stands alone: "std::sort" has none,
// "libstdc++:std::sort" has one. A ':', '+', '%', '*' or '?' that is to stand
// for itself gets a '\' before it, as does '\' (type\:.eq.main.T); the part of
// a name inside (), [] or {} needs none for ':'. In shells all of that wants
// single quotes.
//
// "NAME@0xADDRESS" is the function of that name at that vaddr, where a file
// has several.
type Location struct {
	Binary   string // pattern; "" is the main program first, then any
	Function string // pattern
	Offset   uint64
	First    bool // FUNCTION+0
	Every    bool // FUNCTION+*
	Return   bool // FUNCTION%return

	Address    arch.Addr // of *ADDRESS
	HasAddress bool

	File         string // of FILE:LINE, or FUNCTION: pattern
	Line, Column int    // Column 0: any
}

// SyntaxError says where and why a location can't be understood.
type SyntaxError struct {
	Text   string
	Column int // counted from 1, in bytes
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("location %q, column %d: %s", e.Text, e.Column, e.Reason)
}

// Parse reads a location; errors are of type *SyntaxError.
func Parse(s string) (Location, error) {
	p := parser{text: s}
	l, err := p.location()
	if err != nil {
		return Location{}, err
	}
	return l, nil
}

type parser struct{ text string }

func (p *parser) fail(at int, format string, args ...any) error {
	return &SyntaxError{p.text, at + 1, fmt.Sprintf(format, args...)}
}

func (p *parser) location() (l Location, err error) {
	if p.text == "" {
		return l, p.fail(0, "empty; want [BINARY:]FUNCTION, or *ADDRESS")
	}
	if i := strings.IndexAny(p.text, "\x00\n"); i >= 0 {
		return l, p.fail(i, "control character")
	}
	if ok, err := p.line(&l); ok || err != nil {
		return l, err
	}
	start := 0
	if i := separator(p.text); i >= 0 {
		if i == 0 {
			return l, p.fail(0, `nothing before ':'; a colon of the name itself is written '\:'`)
		}
		l.Binary, start = unescape(p.text[:i]), i+1
	}
	rest := p.text[start:]
	if rest == "" {
		return l, p.fail(start, "no function behind ':'")
	}
	if ok, err := p.address(rest, start, &l); ok || err != nil {
		return l, err
	}
	return l, p.function(rest, start, &l)
}

// line reads [BINARY:]FILE:LINE[:COLUMN].
func (p *parser) line(l *Location) (ok bool, err error) {
	file, n, ok := cutNumber(p.text)
	if !ok {
		return false, nil
	}
	if before, first, ok := cutNumber(file); ok {
		file, l.Line, l.Column = before, first, n
	} else {
		l.Line = n
	}
	start := 0
	if i := separator(file); i >= 0 {
		if i == 0 {
			return true, p.fail(i, `nothing before ':'; a colon of the name itself is written '\:'`)
		}
		l.Binary, start = unescape(file[:i]), i+1
	}
	if l.File = unescape(file[start:]); l.File == "" {
		return true, p.fail(start, "no file before the line")
	}
	return true, nil
}

// mostLine is the largest number of a line or a column.
const mostLine = 1<<31 - 1

// cutNumber cuts a number off the end of s, and the colon before it, which has to stand alone.
func cutNumber(s string) (before string, n int, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 1 || s[i-1] == ':' || s[i-1] == '\\' || strings.Trim(s[i+1:], "0123456789") != "" {
		return s, 0, false
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil || n < 1 || n > mostLine {
		return s, 0, false
	}
	return s[:i], n, true
}

// address reads *ADDRESS.
func (p *parser) address(rest string, start int, l *Location) (ok bool, err error) {
	if !isAddress(rest) {
		return false, nil
	}
	n, err := strconv.ParseUint(rest[1:], 0, 64)
	if err != nil {
		return false, p.fail(start+1, "%q is no address", rest[1:])
	}
	l.Address, l.HasAddress = arch.Addr(n), true
	return true, nil
}

// isAddress reports whether s is '*' and what looks like a number.
func isAddress(s string) bool {
	if len(s) < 2 || s[0] != '*' {
		return false
	}
	digits, hex := strings.CutPrefix(s[1:], "0x")
	for i := range len(digits) {
		if c := digits[i]; !(c >= '0' && c <= '9' || hex && (c|0x20 >= 'a' && c|0x20 <= 'f')) {
			return false
		}
	}
	return digits != ""
}

// function reads FUNCTION and what follows it.
func (p *parser) function(rest string, start int, l *Location) error {
	end := len(rest)
	if at, tail, ok := suffix(rest, '%'); ok && isWord(tail) {
		if tail != "return" {
			return p.fail(start+at, "unknown suffix %%%s: only %%return; a '%%' of the name itself is written '\\%%'", tail)
		}
		l.Return, end = true, at
	}
	if at, tail, ok := suffix(rest[:end], '+'); ok && isOffset(tail) {
		switch n, err := strconv.ParseUint(tail, 0, 64); {
		case l.Return:
			return p.fail(start+end, "%%return is no instruction with an offset: leave one of them out")
		case tail == "*":
			l.Every = true
		case err != nil:
			return p.fail(start+at+1, "%q is no offset: want a number such as 4 or 0x10, or *", tail)
		default:
			l.Offset, l.First = n, n == 0
		}
		end = at
	}
	if end == 0 {
		return p.fail(start, "no function before %q", rest)
	}
	l.Function = unescape(rest[:end])
	return nil
}

// suffix finds the last mark that is not escaped, and what is behind it.
func suffix(s string, mark byte) (at int, tail string, ok bool) {
	at = -1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case mark:
			at = i
		}
	}
	if at < 0 {
		return 0, "", false
	}
	return at, s[at+1:], true
}

// isWord reports whether s is lower-case letters: behind a '%' no part of a
// Go name, where two hexadecimal digits follow and then more.
func isWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

// isOffset reports whether what stands behind a '+' is meant as an offset: it
// begins with a digit and has no bracket, as a C++ name would behind "operator+"
// or in a template's arguments.
func isOffset(s string) bool {
	return s == "*" || s != "" && s[0] >= '0' && s[0] <= '9' && !strings.ContainsAny(s, ")>]}(<[{, ")
}

// separator is the index of the colon behind BINARY, -1 if there is none: the
// first that is neither escaped, nor in brackets, nor one of two ("std::sort").
// Of three the first is it ("a.out:::f").
func separator(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ':':
			n := len(s[i:]) - len(strings.TrimLeft(s[i:], ":"))
			if n != 2 && depth <= 0 {
				return i
			}
			i += n - 1
		}
	}
	return -1
}

// unescape drops the '\' before everything that glob has no meaning for.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if strings.IndexByte(`*?\`, s[i]) >= 0 {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// IsGlob reports whether the location has a pattern for its binary or its
// function: it may mean any number of functions. The star of a Go method's
// receiver, as in main.(*T).Get, is a name's.
func (l Location) IsGlob() bool {
	return isGlob(l.Binary) || isGlob(l.File) || isGlob(strings.ReplaceAll(l.Function, ".(*", ".("))
}
