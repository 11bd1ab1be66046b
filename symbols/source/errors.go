package source

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/symbols/dwarf/line"
)

// NoFileError says that no file of the source is meant by a name.
type NoFileError struct {
	File string
	Like []string // files that may have been meant
}

func (e *NoFileError) Error() string {
	s := fmt.Sprintf("no source file %s", e.File)
	if len(e.Like) > 0 {
		s += "; did you mean " + strings.Join(e.Like, ", ") + "?"
	}
	return s
}

// NoLineError says that there is no code of a line.
type NoLineError struct {
	File         string
	Line, Column int
	Next         int // the next line that has code, 0 if there is none
}

func (e *NoLineError) Error() string {
	at := fmt.Sprintf("%s:%d", e.File, e.Line)
	if e.Column > 0 {
		at += fmt.Sprintf(":%d", e.Column)
	}
	switch {
	case e.Next > 0:
		return fmt.Sprintf("%s has no code; the next line that has is %s:%d", at, e.File, e.Next)
	case e.Column > 0:
		return at + " has no code"
	}
	return at + " has no code, nor has a line behind it"
}

// mostLike is how many files are suggested.
const mostLike = 5

// likeFiles lists files whose names are like one that is none: the same but for case or ending, or
// in another folder.
func (s *Source) likeFiles(typed string) []string {
	base := strings.ToLower(path.Base(typed))
	stem := strings.TrimSuffix(base, path.Ext(base))
	like := map[string]bool{}
	_ = s.d.LineTables(func(t *line.Table, err error) bool {
		if err != nil {
			return true
		}
		for i := range t.Files() {
			name := strings.ToLower(t.Base(i))
			if name == base || strings.TrimSuffix(name, path.Ext(name)) == stem {
				like[t.File(i, "")] = true
			}
		}
		return len(like) < 20*mostLike
	})
	list := sortedKeys(like)
	return list[:min(len(list), mostLike)]
}

func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
