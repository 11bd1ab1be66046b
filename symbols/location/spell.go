package location

import (
	"strconv"
	"strings"
)

// beforeColon is what separator has an eye on.
const beforeColon = ":([{"

// String is the location as Parse reads it.
func (l Location) String() string {
	s := ""
	if l.Binary != "" {
		s = escape(l.Binary, beforeColon) + ":"
	}
	if l.File != "" {
		return s + l.fileLine()
	}
	if l.HasAddress {
		return s + "*" + l.Address.String()
	}
	s += l.function()
	switch {
	case l.Every:
		return s + "+*"
	case l.Return:
		return s + "%return"
	case l.Offset != 0 || l.First:
		return s + "+" + strconv.FormatUint(l.Offset, 10)
	}
	return s
}

// fileLine is FILE:LINE, and the column if there is one.
func (l Location) fileLine() string {
	s := l.File
	if _, _, number := cutNumber(s); number || separator(s) >= 0 {
		s = escape(s, beforeColon)
	}
	s += ":" + strconv.Itoa(l.Line)
	if l.Column > 0 {
		s += ":" + strconv.Itoa(l.Column)
	}
	return s
}

// function escapes what would mean something else when read again.
func (l Location) function() string {
	f := l.Function
	// Colons only where they would be taken for the end of BINARY, or where
	// digits only would be taken for a line.
	if l.Binary == "" && separator(f) >= 0 || l.Binary != "" && strings.HasPrefix(f, ":") {
		f = escape(f, ":")
	}
	f = escapeMarks(f)
	if isAddress(f) {
		f = `*\` + f[1:]
	}
	if _, err := strconv.Atoi(f); err == nil {
		f = `\` + f
	}
	if before, _, ok := cutNumber(f); ok { // it is no line
		f = before + `:\` + f[len(before)+1:]
	}
	return f
}

// escapeMarks puts a '\' before each '+' and '%' that what follows could make
// an offset or a suffix of, be it the last one or not: what has a '\' does not
// hide the one before.
func escapeMarks(f string) string {
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		next := byte(0)
		if i+1 < len(f) {
			next = f[i+1]
		}
		switch {
		case f[i] == '\\' && next != 0:
			b.WriteByte(f[i])
			i++
		case f[i] == '+' && (next == '*' || next >= '0' && next <= '9'), f[i] == '%' && next >= 'a' && next <= 'z':
			b.WriteByte('\\')
		}
		b.WriteByte(f[i])
	}
	return b.String()
}

// escape puts a '\' before each of the given characters that has none.
func escape(s, chars string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			b.WriteByte(s[i])
			i++
		} else if strings.IndexByte(chars, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// quote makes a text a pattern that matches it only.
func quote(s string) string { return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(s) }
