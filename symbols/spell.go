package symbols

import (
	"strconv"
	"strings"
)

// beforeColon is what separator has an eye on.
const beforeColon = ":([{"

// String is the location as ParseLocation reads it.
func (l Location) String() string {
	if l.File != "" {
		return escape(quote(l.File), beforeColon) + ":" + strconv.Itoa(l.Line)
	}
	s := ""
	if l.Binary != "" {
		s = escape(l.Binary, beforeColon) + ":"
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
	case l.Offset != 0:
		return s + "+" + strconv.FormatUint(l.Offset, 10)
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
	if at, tail, ok := suffix(f, '%'); ok && (isWord(tail) || tail == "") {
		f = f[:at] + `\` + f[at:]
	}
	// What is appended could make an offset of what was none.
	if at, tail, ok := suffix(f, '+'); ok && (isOffset(tail) || l.Return && isOffset(tail)) {
		f = f[:at] + `\` + f[at:]
	}
	if isAddress(f) {
		f = `*\` + f[1:]
	}
	if _, err := strconv.Atoi(f); err == nil {
		f = `\` + f
	}
	return f
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
