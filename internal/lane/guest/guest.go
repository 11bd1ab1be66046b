// Package guest is what the lane tool and its guest's init agree on: the plan
// that the tool leaves in the guest's root, and the lines that init says on the
// console. It imports nothing of this module.
package guest

import (
	"fmt"
	"strconv"
	"strings"
)

// PlanPath is where the plan lies in the guest.
const PlanPath = "/plan.json"

// Places in the guest.
const (
	FixtureDir = "/fixtures"
	SourceDir  = "/src" // the module: go.mod and testdata folders only
	TestDir    = "/tests"
	Tool       = "/bin/ptracer"
	SkipList   = "/tmp/skips"
)

// Plan is what init runs, in this order.
type Plan struct {
	Tests []Test
	Env   []string
}

// Test is one test binary.
type Test struct {
	Package string   // import path
	Binary  string   // path in the guest
	Dir     string   // working directory
	Args    []string // without the program's name
	Part    int      // of the plan: that of the guest that runs it
}

// PartArg, with a number behind it, is what the guest's command line says of the part of
// the plan that it runs.
const PartArg = "ptracer.part="

// Kind is what a line on the console says.
type Kind string

// Kinds of lines that init says. Everything else on the console is a test's
// output or the kernel's.
const (
	Run  Kind = "@@RUN"  // @@RUN PACKAGE: starts
	RC   Kind = "@@RC"   // @@RC PACKAGE RC MILLISECONDS: ended
	Skip Kind = "@@SKIP" // @@SKIP TEXT: a line of the list of skips
	End  Kind = "@@END"  // @@END rc=N: all ended; without it the guest died
)

// Line is one thing said.
type Line struct {
	Kind    Kind
	Package string // Run, RC
	Code    int    // RC, End
	Millis  int    // RC
	Text    string // Skip
}

func (l Line) String() string {
	switch l.Kind {
	case Run:
		return fmt.Sprintf("%s %s", l.Kind, l.Package)
	case RC:
		return fmt.Sprintf("%s %s %d %d", l.Kind, l.Package, l.Code, l.Millis)
	case Skip:
		return fmt.Sprintf("%s %s", l.Kind, l.Text)
	default:
		return fmt.Sprintf("%s rc=%d", l.Kind, l.Code)
	}
}

// Parse tells whether text, a line of the console, is one of init's.
func Parse(text string) (Line, bool) {
	head, rest, _ := strings.Cut(strings.TrimRight(text, "\r\n"), " ")
	l := Line{Kind: Kind(head)}
	words := strings.Fields(rest)
	var err error
	switch l.Kind {
	case Run:
		if len(words) != 1 {
			return Line{}, false
		}
		l.Package = words[0]
	case RC:
		if len(words) != 3 {
			return Line{}, false
		}
		l.Package = words[0]
		if l.Code, err = strconv.Atoi(words[1]); err == nil {
			l.Millis, err = strconv.Atoi(words[2])
		}
	case Skip:
		l.Text = rest
	case End:
		code, found := strings.CutPrefix(rest, "rc=")
		if !found {
			return Line{}, false
		}
		l.Code, err = strconv.Atoi(code)
	default:
		return Line{}, false
	}
	return l, err == nil
}
