package location

import (
	"strings"
)

// IsPattern reports whether l may mean any number of places: it has a pattern (see
// IsGlob), or is every instruction of a function.
func (l Location) IsPattern() bool { return l.Every || l.IsGlob() }

// PlaceName is what l is called by the names of its places: the name that they all have,
// BINARY:FUNCTION. It is empty where they have several or there are none, and for a
// pattern. Exits count as their function unless l asks for exits: what is about whole
// calls has places at both.
func (l Location) PlaceName(names []string) string {
	if l.IsPattern() {
		return ""
	}
	one := ""
	for _, name := range names {
		if !l.Return {
			name = strings.TrimSuffix(name, "%return")
		}
		if one != "" && name != one {
			return ""
		}
		one = name
	}
	return one
}
