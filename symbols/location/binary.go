package location

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/symbols"
)

// MatchesBinary reports whether the location's BINARY means m:
//
//   - "" is any; the main program goes first
//   - with a '/', the file at that path, relative ones from the working
//     directory, symbolic links followed; or a pattern of whole paths
//   - "vdso" is the kernel's code in the process
//   - else the file's name, or any shorter form of it: "libc" is libc.so.6,
//     libc-2.31.so and libc.musl-x86_64.so.1, "python3" is python3.11; and as
//     musl's C library is its loader, "libc" is ld-musl-x86_64.so.1, too; the
//     program goes by the name it was started by as well
func (l Location) MatchesBinary(m symbols.Module) bool {
	switch {
	case l.Binary == "":
		return true
	case strings.Contains(l.Binary, "/"):
		return matchesPath(l.Binary, m.Path)
	}
	matches := func(name string) bool { return glob(l.Binary, name) }
	return slices.ContainsFunc(shortNames(m.Path), matches) || slices.ContainsFunc(m.Called, matches)
}

// NameOf is what m is to be called where l matched it: its file's name, unless
// it was asked for by the name it was started by.
func (l Location) NameOf(m symbols.Module) string {
	matches := func(name string) bool { return glob(l.Binary, name) }
	if i := slices.IndexFunc(m.Called, matches); i >= 0 && l.Binary != "" && !slices.ContainsFunc(shortNames(m.Path), matches) {
		return m.Called[i]
	}
	return filepath.Base(m.Path)
}

func matchesPath(pattern, path string) bool {
	if glob(pattern, path) {
		return true
	}
	if isGlob(pattern) {
		return false
	}
	abs, err := filepath.Abs(plain(pattern))
	if err != nil {
		return false
	}
	if abs == path {
		return true
	}
	real, err := filepath.EvalSymlinks(abs)
	return err == nil && real == path
}

// shortNames are the names that a file goes by.
func shortNames(path string) []string {
	base := filepath.Base(path)
	if inner := strings.Trim(base, "[]"); inner != base {
		return []string{base, inner}
	}
	names := []string{base}
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	stem, _, isLib := strings.Cut(base, ".so")
	if isLib {
		add(stem)
	}
	if i := strings.Index(stem, ".musl-"); i > 0 {
		add(stem[:i])
	}
	if strings.HasPrefix(stem, "ld-musl-") {
		add("ld-musl")
		add("libc")
	}
	if isLib && strings.HasPrefix(stem, "ld-linux") {
		add("ld-linux")
	}
	for {
		shorter := cutVersion(stem)
		if shorter == stem {
			return names
		}
		stem = shorter
		add(stem)
	}
}

// cutVersion cuts the last number off a name, with the '-' or '.' before it.
func cutVersion(name string) string {
	rest := strings.TrimRight(name, "0123456789")
	if rest == name || rest == "" {
		return name
	}
	switch last := rest[len(rest)-1]; last {
	case '-', '.':
		return rest[:len(rest)-1]
	}
	return name
}
