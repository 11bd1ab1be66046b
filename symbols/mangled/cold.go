package mangled

import (
	"strings"
)

// Cold is the name of the function that a cold part's name says it is from.
func Cold(name string) (string, bool) {
	i := strings.LastIndex(name, ".cold")
	if i <= 0 || strings.Trim(name[i+len(".cold"):], ".0123456789") != "" {
		return "", false
	}
	return name[:i], true
}
