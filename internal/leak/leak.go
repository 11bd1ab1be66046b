// Package leak ends a test binary with a look at what its tests left behind:
// child processes and their descendants, tracees, goroutines of this module,
// open files. A TestMain is
//
//	func TestMain(m *testing.M) { leak.Main(m) }
//
// Descendants that init has adopted are found by a mark in their environment,
// so a test that gives a child an environment of its own hides it from that
// check. What is on its way out gets two seconds.
//
// It is imported by tests only. It reads /proc and makes no system calls of
// its own.
package leak

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// grace is how long leftovers may take to go.
const grace = 2 * time.Second

// mark names the environment variable by which descendants are known.
const mark = "PTRACER_LEAK_CHECK"

// M is what runs tests: a *testing.M, or a stand-in for one.
type M interface{ Run() int }

// Main runs m's tests and the check behind them, and exits.
func Main(m M) { os.Exit(Check(m).Run()) }

// Check returns an M that runs m and then fails if something was left behind.
// It is for those who hand their M to somebody else's Main.
func Check(m M) M { return checked{m} }

type checked struct{ m M }

// Run runs the tests and returns the exit code.
func (c checked) Run() int {
	value := strconv.Itoa(os.Getpid())
	os.Setenv(mark, value)
	startPoller()
	before := files()
	code := c.m.Run()
	left := settle(func() []string { return leftovers(before, value) })
	if len(left) == 0 {
		return code
	}
	fmt.Fprintf(os.Stderr, "FAIL: left behind by the tests:\n\t%s\n", strings.Join(left, "\n\t"))
	return max(code, 1)
}

// startPoller makes the Go runtime open the files of its poller, which it
// keeps, before files are counted.
func startPoller() {
	if r, w, err := os.Pipe(); err == nil {
		r.SetDeadline(time.Now())
		r.Close()
		w.Close()
	}
}

// settle asks until nothing is left or the grace is over.
func settle(left func() []string) []string {
	end := time.Now().Add(grace)
	for {
		found := left()
		if len(found) == 0 || time.Now().After(end) {
			return found
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func leftovers(before map[string]bool, value string) []string {
	found := goroutines()
	for fd := range files() {
		if !before[fd] {
			found = append(found, "open file "+fd)
		}
	}
	return append(found, processes(value)...)
}
