// Package skip is the one way a test of this module skips: it says what is
// missing on the machine and puts that on a list, so that nobody overlooks a
// test that did not run.
//
// It is imported by tests only, and imports nothing of this module.
package skip

import (
	"fmt"
	"os"
	"testing"
)

// ListEnv names the environment variable that holds the path of the list. Each
// skip appends one line, "TestName: what".
const ListEnv = "PTRACER_SKIPS"

// Missing skips t because the machine lacks what: a program, a kernel feature,
// a right.
func Missing(t testing.TB, what string) {
	t.Helper()
	if err := list(os.Getenv(ListEnv), t.Name(), what); err != nil {
		t.Errorf("list of skips: %v", err)
	}
	t.Skipf("SKIP missing: %s", what)
}

// list appends a line to the file at path. Several test binaries write to it
// at once: one short write to a file opened with O_APPEND is not torn.
func list(path, test, what string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%s: %s\n", test, what); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
