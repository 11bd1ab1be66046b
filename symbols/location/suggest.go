package location

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/mangled"
)

// NotFoundError says that a file has no function of a name or pattern. The
// names it suggests are looked for when it is printed.
type NotFoundError struct {
	Name string // as asked for
	file *symbols.File
}

// Unwrap makes it an ErrNotFound.
func (e *NotFoundError) Unwrap() error { return symbols.ErrNotFound }

func (e *NotFoundError) Error() string {
	what := "function " + plain(e.Name)
	if isGlob(e.Name) {
		what = "function like " + e.Name
	}
	s := fmt.Sprintf("no %s in %s: %v", what, filepath.Base(e.file.Name()), symbols.ErrNotFound)
	if names := e.Suggestions(); len(names) > 0 {
		s += "; did you mean " + strings.Join(names, ", ") + "?"
	}
	if err := e.file.Unread(); err != nil {
		s += "; some names are not known: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return s
}

const maxSuggestions = 5

// Suggestions are the names in the file that are most like what was asked for,
// readable, the most alike first.
func (e *NotFoundError) Suggestions() []string {
	fns, err := e.file.Functions()
	if err != nil || isGlob(e.Name) {
		return nil
	}
	type scored struct {
		name  string
		score int
	}
	var list []scored
	asked := simple(plain(e.Name))
	for _, fn := range fns {
		for _, name := range fn.Names() {
			if score, ok := alike(asked, name); ok {
				list = append(list, scored{mangled.Readable(name), score})
			}
		}
	}
	slices.SortFunc(list, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, s := range list {
		if !slices.Contains(names, s.name) && len(names) < maxSuggestions {
			names = append(names, s.name)
		}
	}
	return names
}

// simple is a name without what people get wrong first.
func simple(name string) string {
	if !strings.Contains(name, "(*") { // Go's receivers
		name, _, _ = strings.Cut(name, "(")
	}
	return strings.ToLower(strings.Trim(name, "_"))
}

// alike scores how far a name is from what was asked for; fewer is nearer.
func alike(asked, name string) (score int, ok bool) {
	if len(asked) < 2 || len(name) > mangled.Longest {
		return 0, false
	}
	plainName := simple(name)
	limit := max(1, (len(asked)+1)/3)
	if mangled.Is(name) {
		// Reading every name takes too long: first see whether it is in there.
		last := asked[strings.LastIndex(asked, ":")+1:]
		if last == "" || !strings.Contains(plainName, last) {
			return 0, false
		}
		return 20 + len(plainName)/16, true
	}
	if d := distance(asked, plainName, limit); d <= limit {
		return 4 * d, true
	}
	if strings.Contains(plainName, asked) {
		return 8 + len(plainName) - len(asked), true
	}
	if len(plainName) > 3 && strings.Contains(asked, plainName) {
		return 12 + len(asked) - len(plainName), true
	}
	// "Handle" for main.(*Server).Handle is contained; "Server.Handle" is not.
	if last := asked[strings.LastIndexAny(asked, ".:")+1:]; last != asked && len(last) > 3 && strings.HasSuffix(plainName, last) {
		return 16 + len(plainName), true
	}
	return 0, false
}

// distance is the number of changed, missing, further or swapped bytes between
// a and b, or limit+1 if it is more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+1)%3], rows[(i+2)%3], rows[i%3]
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			best = min(best, row[j])
		}
		if best > limit {
			return limit + 1
		}
	}
	return rows[len(a)%3][len(b)]
}
