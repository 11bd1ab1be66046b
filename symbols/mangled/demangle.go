package mangled

import (
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// Longest is the longest name that is demangled; the text may be as long
// as 1<<maxDemangled.
const Longest, maxDemangled = 1 << 14, 17

// Is reports whether name looks like one of C++ or Rust.
func Is(name string) bool {
	return strings.HasPrefix(name, "_Z") || strings.HasPrefix(name, "_R")
}

// demangled demangles name with the given options; ok is false if it is plain.
func demangled(name string, options ...demangle.Option) (string, bool) {
	if !Is(name) || len(name) > Longest {
		return name, false
	}
	s, err := demangle.ToString(name, append(options, demangle.MaxLength(maxDemangled))...)
	return s, err == nil
}

// Readable is a name as it stands in the C++ or Rust source, with parameters; other names
// are as they are.
func Readable(name string) string {
	if s, ok := demangled(name); ok {
		return s
	}
	return name
}

// Spellings are the ways to write a name, beside the table's, that a name or
// pattern like the given one can mean: in as much detail as that has. Without
// parameters a cold part would read like the function that it is of.
func Spellings(name, like string) []string {
	if strings.Contains(like, "[...]") {
		return goSpelling(name)
	}
	if _, cold := Cold(name); cold || !Is(name) {
		return nil
	}
	var list []string
	add := func(options ...demangle.Option) {
		if s, ok := demangled(name, append(options, demangle.NoABITags)...); ok {
			list = append(list, s)
		}
	}
	if strings.Contains(like, "(") {
		add()
	}
	if strings.ContainsAny(like, "<(") {
		add(demangle.NoParams)
	}
	add(demangle.NoParams, demangle.NoTemplateParams, demangle.NoEnclosingParams)
	return list
}

// Squeeze takes the blanks out of a readable name, which people set as they
// like ("> >", "char *").
func Squeeze(s string) string { return strings.ReplaceAll(s, " ", "") }

// goSpelling is a generic function's name as Go prints it: the table has
// main.F[go.shape.int], a stack trace main.F[...].
func goSpelling(name string) []string {
	i, j := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']')
	if i < 0 || j < i {
		return nil
	}
	return []string{name[:i] + "[...]" + name[j+1:]}
}
