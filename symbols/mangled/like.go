package mangled

import (
	"slices"
	"strconv"
	"strings"
)

// Reads reports whether a mangled name reads like the given one.
func Reads(mangled, like string) bool {
	return slices.ContainsFunc(Spellings(mangled, like), func(s string) bool { return Squeeze(s) == Squeeze(like) })
}

// Part is something that a mangled name must have in it to read like
// name: its last identifier, with the length before it as both C++ and Rust
// write it; of Go's generic functions what is before the brackets. It is "_" where
// the last identifier can hide in an abbreviation, and "" where name can't be that
// of a mangled function.
func Part(name string) string {
	if start, _, ok := strings.Cut(name, "[...]"); ok {
		return start + "["
	}
	end := strings.IndexByte(name, '(')
	if strings.HasSuffix(name[:max(end, 0)], "operator") || end < 0 {
		end = len(name)
	}
	if i := strings.IndexByte(name[:end], '<'); i > 0 {
		end = i
	}
	start := end
	for start > 0 && isIdent(name[start-1]) {
		start--
	}
	word := name[start:end]
	switch {
	case strings.Contains(name, "operator"), strings.Contains(name, "{"), strings.Contains(name, "anonymous"), strings.Contains(name, " for "):
		return "_"
	case word == "" || word[0] >= '0' && word[0] <= '9' || start > 0 && name[start-1] == '.':
		return ""
	case slices.Contains(abbreviated, word):
		return "_"
	}
	return strconv.Itoa(len(word)) + word
}

// abbreviated are the identifiers that C++ mangling has short forms for.
var abbreviated = []string{"std", "allocator", "basic_string", "string", "istream", "basic_istream", "ostream",
	"basic_ostream", "iostream", "basic_iostream"}

func isIdent(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}
