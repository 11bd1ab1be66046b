package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/source"
)

// TestLines counts lines of the source, and compares with what the program prints: at jumps and at
// traps, in programs of all kinds of linking.
func TestLines(t *testing.T) {
	const calls = 300
	for _, name := range []string{"loop", "loop-static", "loop-nopie"} {
		for _, method := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot} {
			t.Run(fmt.Sprint(name, "-", method), func(t *testing.T) {
				p := launch(t, name, fmt.Sprint(calls))
				s := attach(t, p.pid)
				want := map[string]uint64{"loop.c:7": calls, "src/loop.c:15": calls, "work:7": calls, "loop.c:19": 1, "loop.c:17": 0}
				ids := map[string]event.ProbeID{}
				for location := range want {
					ids[location] = register(t, s, ProbeSpec{Location: location, Rung: method})
				}
				p.goOn()
				if out, status := p.end(); !strings.HasPrefix(out, fmt.Sprintf("calls %d\n", calls)) || status != 0 {
					t.Errorf("%q, status %d", out, status)
				}
				for location, n := range want {
					if got := s.Hits(ids[location]); got != n {
						t.Errorf("%s: %d hits, want %d", location, got, n)
					}
				}
			})
		}
	}
}

// TestLineErrors has lines that can't be probed: each error says why, and what would do.
func TestLineErrors(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	var noLine *source.NoLineError
	for location, ok := range map[string]func(error) bool{
		"loop.c:2":       func(err error) bool { return errors.As(err, &noLine) && noLine.Next > 2 },
		"elsewhere.c:2":  func(err error) bool { var e *source.NoFileError; return errors.As(err, &e) },
		"work:15":        func(err error) bool { return errors.Is(err, symbols.ErrNotFound) },
		"loop:loop.c:99": func(err error) bool { return errors.As(err, &noLine) && noLine.Next == 0 },
	} {
		if _, err := s.Register(ProbeSpec{Location: location}); !errors.Is(err, symbols.ErrNotFound) || !ok(err) {
			t.Errorf("%s: %v", location, err)
		}
	}
}
