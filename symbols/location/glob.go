package location

import (
	"strings"
)

// glob reports whether s matches a pattern: '*' stands for any text, '?' for
// any one byte, '\' makes the next byte stand for itself. Brackets stand for
// themselves: Go's names are full of them.
func glob(pattern, s string) bool {
	// Where the last '*' was and how much of s it has taken: the only place
	// to come back to.
	star, taken := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, taken = p, i
			p++
			continue
		}
		if n := globByte(pattern[p:], s[i]); n > 0 {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		taken++
		p, i = star+1, taken
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// globByte is how many bytes of the pattern match c, 0 if they don't.
func globByte(pattern string, c byte) int {
	switch {
	case pattern == "":
		return 0
	case pattern[0] == '\\' && len(pattern) > 1:
		if pattern[1] == c {
			return 2
		}
		return 0
	case pattern[0] == '?' || pattern[0] == c:
		return 1
	}
	return 0
}

// isGlob reports whether a pattern can match more than one text.
func isGlob(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?':
			return true
		}
	}
	return false
}

// plain is what a pattern without '*' and '?' matches.
func plain(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}
