// Package exit is how ptracer ends: by which signals, and with which error and exit status.
package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
)

// Exit statuses of ptracer's own; those of a command are its own.
const (
	StatusFailed   = 1
	StatusUsage    = 2
	statusNoExec   = 126 // as shells say it: found, but can't be executed
	statusNotFound = 127
)

// Ended is no failure of ptracer's: the command's exit status, which is to
// be handed on.
type Ended struct{ Status int }

// Error implements error.
func (e *Ended) Error() string { return fmt.Sprintf("exit status %d", e.Status) }

// Failure is an error with the exit status it leads to.
type Failure struct {
	Status int
	Err    error
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is the error without its status.
func (f *Failure) Unwrap() error { return f.Err }

// Usage is an error in the command line.
func Usage(format string, args ...any) error {
	return &Failure{StatusUsage, fmt.Errorf(format, args...)}
}

// OfStart gives the error of a command that could not be started the
// status that shells give it.
func OfStart(name string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &Failure{statusNotFound, fmt.Errorf("%s: command not found: check the name and PATH", name)}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR):
		return &Failure{statusNoExec, fmt.Errorf("%s: cannot be executed: %w", name, Root(err))}
	}
	return &Failure{StatusFailed, err}
}

// Root is the innermost of an error's causes.
func Root(err error) error {
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
