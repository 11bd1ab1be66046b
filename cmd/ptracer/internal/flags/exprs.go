package flags

import (
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// ParseScale reads FROM:TO:STEP; powers of two are the empty text.
func ParseScale(text string) (builtin.Scale, error) {
	if text == "" {
		return builtin.Scale{}, nil
	}
	var n [3]int64
	parts := strings.Split(text, ":")
	for i, p := range parts {
		v, err := strconv.ParseInt(p, 0, 64)
		if err != nil || len(parts) != len(n) {
			return builtin.Scale{}, exit.Usage("--linear %q: it is FROM:TO:STEP, three numbers such as 0:4096:256", text)
		}
		n[i] = v
	}
	if n[2] <= 0 {
		return builtin.Scale{}, exit.Usage("--linear %q: the step has to be above 0", text)
	}
	s, err := builtin.Linear(n[0], n[1], uint64(n[2]))
	if err != nil {
		return s, exit.Usage("--linear: %w", err)
	}
	return s, nil
}

// ExprList is a list of expressions, divided by the commas outside of brackets
// and quotes.
type ExprList struct{ List *[]string }

// String implements pflag.Value.
func (e *ExprList) String() string {
	if e.List == nil {
		return ""
	}
	return strings.Join(*e.List, ",")
}

// Type implements pflag.Value.
func (e *ExprList) Type() string { return "expressions" }

// Set implements pflag.Value.
func (e *ExprList) Set(text string) error {
	*e.List = nil
	depth, start, quote := 0, 0, rune(0)
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == ',' && depth == 0:
			*e.List = append(*e.List, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	*e.List = append(*e.List, strings.TrimSpace(text[start:]))
	return nil
}
