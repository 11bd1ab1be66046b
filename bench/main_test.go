package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

var (
	full = flag.Bool("full", false, "many turns of real length, and tables of the results")
	only = flag.Int("turns", 0, "make `n` turns instead of the default's number")
	out  = flag.String("out", "../build/bench.json", "with -full, write the results to `file` as JSON")
)

// turns is how often each contender is measured.
func turns(otherwise int) int {
	switch {
	case *only > 0:
		return *only
	case *full:
		return otherwise
	default:
		return 1
	}
}

// length is n, or little where only the mechanism is tested.
func length(n, little int) int {
	if *full {
		return n
	}
	return little
}

func TestMain(m *testing.M) {
	if part := parts[os.Getenv(partEnv)]; part != nil {
		if err := part(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	code := leak.Check(m).Run()
	if *full {
		if err := results.finish(*out); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
