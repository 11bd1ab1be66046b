package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// token is a word of the text.
type token struct {
	kind tokenKind
	pos  int
	text string // as written; of a string its contents
	num  uint64
	u    bool // a number with suffix u
}

type tokenKind uint8

const (
	tEnd tokenKind = iota
	tName
	tReg
	tNumber
	tString
	tOp
)

func (t token) String() string {
	switch t.kind {
	case tEnd:
		return "the end"
	case tString:
		return "string " + Quote(t.text)
	case tReg:
		return "$" + t.text
	}
	return strconv.Quote(t.text)
}

// operators, longer ones first.
var operators = []string{
	"&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "=~", "!~", "&^", "->",
	"<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "(", ")", ",", ".", "[", "]", ":",
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// next reads the token at p.at.
func (p *parser) next() (token, error) {
	for p.at < len(p.Text) && strings.IndexByte(" \t\r\n", p.Text[p.at]) >= 0 {
		p.at++
	}
	start := p.at
	if start == len(p.Text) {
		return token{pos: start}, nil
	}
	switch c := p.Text[start]; {
	case isLetter(c):
		return token{kind: tName, pos: start, text: p.name()}, nil
	case isDigit(c):
		return p.number()
	case c == '$':
		p.at++
		name := p.word()
		if name == "" {
			return token{}, p.Fail(start, "$ without the name of a register")
		}
		return token{kind: tReg, pos: start, text: name}, nil
	case c == '"':
		return p.str()
	case c == '\'':
		return p.char()
	}
	for _, o := range operators {
		if strings.HasPrefix(p.Text[start:], o) {
			p.at += len(o)
			return token{kind: tOp, pos: start, text: o}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(p.Text[start:])
	return token{}, p.Fail(start, fmt.Sprintf("%q means nothing here", r))
}

// name reads words that "::" joins.
func (p *parser) name() string {
	start := p.at
	p.word()
	for rest := p.Text[p.at:]; len(rest) > 2 && rest[:2] == "::" && isLetter(rest[2]); rest = p.Text[p.at:] {
		p.at += 2
		p.word()
	}
	return p.Text[start:p.at]
}

// word reads letters and digits.
func (p *parser) word() string {
	start := p.at
	for p.at < len(p.Text) && (isLetter(p.Text[p.at]) || isDigit(p.Text[p.at])) {
		p.at++
	}
	return p.Text[start:p.at]
}

func (p *parser) number() (token, error) {
	t := token{kind: tNumber, pos: p.at}
	t.text = p.word()
	digits := strings.TrimRight(t.text, "uU")
	if len(t.text)-len(digits) > 1 {
		return t, p.Fail(t.pos, fmt.Sprintf("%q is no number", t.text))
	}
	t.u = digits != t.text
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil {
		why := "is no number"
		if strings.HasSuffix(err.Error(), strconv.ErrRange.Error()) {
			why = "is more than 64 bits"
		}
		return t, p.Fail(t.pos, fmt.Sprintf("%q %s", t.text, why))
	}
	t.num = n
	return t, nil
}

// quoted reads up to the next quote of the kind at p.at, and returns the text between.
func (p *parser) quoted(what string) (string, error) {
	start, q := p.at, p.Text[p.at]
	for p.at++; p.at < len(p.Text) && p.Text[p.at] != q; p.at++ {
		if p.Text[p.at] == '\n' {
			break
		}
		if p.Text[p.at] == '\\' {
			p.at++
		}
	}
	if p.at >= len(p.Text) || p.Text[p.at] != q {
		p.at = min(p.at, len(p.Text))
		return "", p.Fail(start, what+" does not end")
	}
	p.at++
	return p.unquote(start+1, p.at-1, q)
}

// unquote resolves Go's escapes in text[at:end].
func (p *parser) unquote(at, end int, q byte) (string, error) {
	var out []byte
	for rest := p.Text[at:end]; rest != ""; {
		r, multi, tail, err := strconv.UnquoteChar(rest, q)
		if err != nil {
			return "", p.Fail(end-len(rest), "no such escape")
		}
		if multi {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return string(out), nil
}

func (p *parser) str() (token, error) {
	t := token{kind: tString, pos: p.at}
	s, err := p.quoted("the string")
	if err == nil && strings.IndexByte(s, 0) >= 0 {
		err = p.Fail(t.pos, "a string holds no byte 0")
	}
	if err == nil && len(s) > maxString {
		err = p.Fail(t.pos, fmt.Sprintf("the string has more than %d bytes", maxString))
	}
	t.text = s
	return t, err
}

func (p *parser) char() (token, error) {
	t := token{kind: tNumber, pos: p.at}
	s, err := p.quoted("the character")
	if err != nil {
		return t, err
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case len(s) == 1:
		t.num = uint64(s[0])
	case s == "" || n != len(s):
		return t, p.Fail(t.pos, "a character constant is one character")
	default:
		t.num = uint64(r)
	}
	t.text = p.Text[t.pos:p.at]
	return t, nil
}
