// Ptracer counts and shows what functions of running programs are called, by
// nothing but ptrace.
//
//	ptracer count|trace|probes [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]
//	ptracer doctor [PID]...
//
// It turns flags into calls of an engine.Session and what comes back into
// lines. Where a command runs, standard output is the command's, and all of ours
// goes to standard error, or to a file. One file is one verb; job.go is what they
// share. It imports the engine, symbols and breakpoint for their words, and
// makes no system calls of its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/printable"
)

// Exit statuses of our own; those of a command are its own.
const (
	statusFailed   = 1
	statusUsage    = 2
	statusNoExec   = 126 // as shells say it: found, but can't be executed
	statusNotFound = 127
)

func main() {
	keepGarbage()
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
	var ended *commandEnded
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.status
	case !errors.As(err, &f): // only the parser of the command line gives errors of no type of ours
		f = &failure{statusUsage, err}
	}
	lines := printable.Lines(f.err) // joined errors have a line each
	if text := strings.Join(lines, ""); errors.Is(f.err, syscall.EMFILE) && !strings.Contains(text, "ulimit -n") {
		lines[len(lines)-1] += " (raise 'ulimit -n')"
	}
	for _, line := range lines {
		say(stderr, "%s", line)
	}
	if f.status == statusUsage {
		_ = printable.Write(stderr, "Try 'ptracer --help'.")
	}
	return f.status
}

// say writes one message, a line. An error that has several lines has them in one.
func say(stderr io.Writer, format string, args ...any) {
	for i, a := range args {
		if err, is := a.(error); is {
			args[i] = strings.Join(printable.Lines(err), "; ")
		}
	}
	_ = printable.Printf(stderr, "ptracer: "+format, args...)
}

// commandEnded is no failure of ours: the command's exit status, which is to
// be handed on.
type commandEnded struct{ status int }

func (e *commandEnded) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// failure is an error with the exit status it leads to.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is an error in how we were called.
func usage(format string, args ...any) error {
	return &failure{statusUsage, fmt.Errorf(format, args...)}
}

// verb makes a cobra function of one that returns errors of any type: they are
// failures, unless they say otherwise.
func verb(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := procMounted()
		if err == nil {
			err = f(cmd, args)
		}
		var ended *commandEnded
		var known *failure
		if err == nil || errors.As(err, &ended) || errors.As(err, &known) {
			return err
		}
		return &failure{statusFailed, err}
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

// startFailure gives the error of a command that could not be started the
// status that shells give it.
func startFailure(name string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &failure{statusNotFound, fmt.Errorf("%s: command not found: check the name and PATH", name)}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR):
		return &failure{statusNoExec, fmt.Errorf("%s: cannot be executed: %w", name, root(err))}
	}
	return &failure{statusFailed, err}
}

// root is the innermost of an error's causes.
func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 { // joined with none
			next = j.Unwrap()[0]
		}
		if next == nil {
			return err
		}
		err = next
	}
}
