package source

import (
	sd "debug/dwarf"
	"strings"

	"github.com/ptracer/ptracer/symbols/dwarf"
)

// FilesOf returns the files that have functions of a name: the name itself, or with the namespaces
// and types that it lies in. It reports false if there is no such function.
func (s *Source) FilesOf(function string) (Files, bool, error) {
	names, err := s.d.Names()
	if err != nil {
		return Files{}, false, err
	}
	files := map[string]bool{}
	for _, name := range Spellings(function) {
		err := names.Lookup(name, func(e dwarf.Entry) bool {
			if e.Tag() == sd.TagSubprogram && (name == function || IsOf(e.QualifiedName(), function)) {
				s.filesOf(e, files)
			}
			return true
		})
		if err != nil {
			return Files{}, false, err
		}
	}
	return Files{Typed: function, any: files}, len(files) > 0, nil
}

// filesOf notes the file of a function. Go does not tell that of one that it inlines everywhere: it
// is one of the unit's.
func (s *Source) filesOf(e dwarf.Entry, files map[string]bool) {
	if file := e.File(); file != "" {
		files[file] = true
		return
	}
	t, err := e.Unit().Lines()
	if t == nil || err != nil {
		return
	}
	dir := e.Unit().Dir()
	for i := range t.Files() {
		if file := t.File(i, dir); file != "" {
			files[file] = true
		}
	}
}

// Spellings are the forms in which an index of names may have a name: itself, and without the namespaces and
// types in front.
func Spellings(name string) []string {
	parts := components(name)
	if last := parts[len(parts)-1]; last != name {
		return []string{name, last}
	}
	return []string{name}
}

// components are the parts of a name that "::" joins, outside the arguments of templates.
func components(name string) (parts []string) {
	depth, start := 0, 0
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '<', '(', '{':
			depth++
		case '>', ')', '}':
			depth--
		case ':':
			if depth <= 0 && strings.HasPrefix(name[i:], "::") {
				parts = append(parts, name[start:i])
				i++
				start = i + 1
			}
		}
	}
	return append(parts, name[start:])
}

// IsOf reports whether a qualified name is meant by one that may leave out namespaces and types in
// front, and the arguments of templates: all, or those behind the first ones.
func IsOf(qualified, name string) bool {
	if qualified == name {
		return true
	}
	have, want := components(qualified), components(name)
	if len(want) > len(have) {
		return false
	}
	have = have[len(have)-len(want):]
	for i, w := range want {
		if !isPart(have[i], w) {
			return false
		}
	}
	return true
}

func isPart(have, want string) bool {
	if have == want {
		return true
	}
	if first, ok := strings.CutSuffix(want, ">"); ok && strings.Contains(first, "<") {
		rest, ok := strings.CutPrefix(have, first)
		return ok && (strings.HasPrefix(rest, ",") || strings.HasPrefix(rest, ">") || strings.HasPrefix(rest, " "))
	}
	base, _, ok := strings.Cut(have, "<")
	return ok && base != "" && base == want
}
