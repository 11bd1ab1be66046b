// Package truth holds what ptracer prints against what programs say of themselves:
// the truth matrix. It tests that a printed number is right (ARCHITECTURE.md, "Invariants and their
// tests").
//
// The fixtures truth-* make calls of a few functions with values that are easily
// mixed up, and print each call: arguments, result, strings, and between which
// bounds its time lies. The package has the pure parts of the comparison: what a
// program said (Parse), what can be asked of ptracer (Questions), all rows of the
// matrix (Rows), what an answer has to be (Question.Check), and which faults of
// ptracer are known (Faults). Its test runs rows: some always, others by chance.
//
// It is imported by nothing, and imports nothing of the product.
package truth

import (
	"fmt"
	"strconv"
	"strings"
)

// Call is a call as the program noted it.
type Call struct {
	Function     string
	TID          int
	Inner, Outer uint64 // ns: a part of the call took Inner, the call and something around it Outer
	Ret          uint64
	Args         [6]uint64
	Text, Result string // the strings that the fourth argument and the result point to
}

// Truth is all that a program said of itself.
type Truth struct {
	PID   int
	Calls []Call // of each thread in the order in which they ended
}

// Of is the calls of one function.
func (t *Truth) Of(function string) (calls []Call) {
	for _, c := range t.Calls {
		if c.Function == function {
			calls = append(calls, c)
		}
	}
	return calls
}

// Parse reads the output of a fixture.
func Parse(output string) (*Truth, error) {
	t := &Truth{}
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		var err error
		switch kind {
		case "pid":
			t.PID, err = strconv.Atoi(rest)
		case "call":
			var c Call
			c, err = parseCall(rest)
			t.Calls = append(t.Calls, c)
		default:
			err = fmt.Errorf("it is no line of a truth")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	if t.PID == 0 || len(t.Calls) == 0 {
		return nil, fmt.Errorf("no pid or no call in %q", output)
	}
	return t, nil
}

func parseCall(line string) (c Call, err error) {
	parts := strings.Split(line, "|")
	words := strings.Fields(parts[0])
	if len(parts) != 3 || len(words) != 5+len(c.Args) {
		return c, fmt.Errorf("%d words and %d parts", len(words), len(parts))
	}
	numbers := make([]uint64, len(words))
	for i, w := range words[1:] {
		if numbers[i], err = strconv.ParseUint(w, 16, 64); err != nil {
			return c, err
		}
	}
	c = Call{Function: words[0], TID: int(numbers[0]), Inner: numbers[1], Outer: numbers[2], Ret: numbers[3],
		Text: parts[1], Result: parts[2]}
	copy(c.Args[:], numbers[4:])
	return c, nil
}
