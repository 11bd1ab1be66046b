package printable

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// drawn is an error with lines of its own, such as a syntax error.
type drawn struct{}

func (drawn) Error() string   { return "wrong\n  a > \n     ^" }
func (drawn) Lines() []string { return []string{"wrong", "  a > ", "     ^"} }

// other describes its cause in other words.
type other struct{ error }

func (o other) Error() string { return "other\nwords" }
func (o other) Unwrap() error { return o.error }

func TestLines(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	forged := errors.New("f\nforged")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{a, []string{"a"}},
		{forged, []string{"f\nforged"}},
		{errors.Join(a, b), []string{"a", "b"}},
		{errors.Join(nil, a), []string{"a"}},
		{errors.Join(forged, a), []string{"f\nforged", "a"}},
		{errors.Join(a, errors.Join(b, forged)), []string{"a", "b", "f\nforged"}},
		{fmt.Errorf("x\ny: %w (z)", errors.Join(a, b)), []string{"x\ny: a", "b (z)"}},
		{fmt.Errorf("%w\nforged: %w", a, b), []string{"a\nforged: b"}},
		{fmt.Errorf("%s: %w", "n\nforged", drawn{}), []string{"n\nforged: wrong", "  a > ", "     ^"}},
		{errors.Join(fmt.Errorf("flag: %w", drawn{}), a), []string{"flag: wrong", "  a > ", "     ^", "a"}},
		{other{a}, []string{"other\nwords"}},
	} {
		if got := Lines(c.err); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.err, got, c.want)
		}
	}
}
