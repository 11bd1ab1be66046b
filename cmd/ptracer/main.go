// Ptracer counts and shows what functions of running programs are called, by
// nothing but ptrace.
//
//	ptracer count|trace|probes [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]
//	ptracer doctor [PID]...
//
// It turns flags into calls of an engine.Session and what comes back into
// lines. Where a command runs, standard output is the command's, and all of ptracer's
// goes to standard error, or to a file. One file is one verb; what verbs share is below
// internal, a run of one that traces in internal/job. It imports the engine, symbols and breakpoint for their words, and
// makes no system calls of its own.
package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/heap"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/printable"
)

func main() {
	heap.KeepGarbage()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return report(root.Execute(), stderr)
}

// report tells an error and returns the exit status that goes with it.
func report(err error, stderr io.Writer) int {
	var ended *exit.Ended
	var f *exit.Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.Status
	case !errors.As(err, &f): // only the parser of the command line returns errors that are no exit.Failure
		f = &exit.Failure{Status: exit.StatusUsage, Err: err}
	}
	lines := printable.Lines(f.Err) // joined errors have a line each
	if text := strings.Join(lines, ""); errors.Is(f.Err, syscall.EMFILE) && !strings.Contains(text, "ulimit -n") {
		lines[len(lines)-1] += " (raise 'ulimit -n')"
	}
	for _, line := range lines {
		show.Say(stderr, "%s", line)
	}
	if f.Status == exit.StatusUsage {
		_ = printable.Write(stderr, "Try 'ptracer --help'.")
	}
	return f.Status
}

// verb makes a cobra function of one that returns errors of any type: they are
// failures, unless they say otherwise.
func verb(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := procMounted()
		if err == nil {
			err = f(cmd, args)
		}
		var ended *exit.Ended
		var known *exit.Failure
		if err == nil || errors.As(err, &ended) || errors.As(err, &known) {
			return err
		}
		return &exit.Failure{Status: exit.StatusFailed, Err: err}
	}
}

// errNoProc is the error of every verb on a machine, or in a container, without /proc.
var errNoProc = errors.New("/proc is not mounted: all that ptracer knows of processes is there; 'mount -t proc proc /proc' mounts it")

// procMounted returns errNoProc where /proc does not tell of this process.
func procMounted() error {
	if _, err := os.Stat("/proc/self/stat"); errors.Is(err, fs.ErrNotExist) {
		return errNoProc
	}
	return nil
}
