package ptrace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Classes of an Error, for errors.Is.
var (
	ErrGone         = errors.New("task is gone")             // ESRCH: died, or not stopped
	ErrNotPermitted = fs.ErrPermission                       // EPERM, EACCES
	ErrNotKnown     = errors.New("not known to the kernel")  // EIO, ENOSYS, EOPNOTSUPP, EINVAL: for a request that may be unknown to it
	ErrNoTask       = errors.New("no task left to wait for") // ECHILD
	ErrNotMapped    = errors.New("address is not mapped")    // EFAULT, EIO of /proc/PID/mem
)

// Error is a request that the kernel refused.
type Error struct {
	Op    string     // the request, by its name in ptrace(2)
	Task  int        // thread id
	Errno unix.Errno // the kernel's answer
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s task %d: %s", e.Op, e.Task, e.Errno.Error())
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Is sorts the errno into this package's classes.
func (e *Error) Is(target error) bool {
	switch e.Errno {
	case unix.ESRCH:
		return target == ErrGone
	case unix.EIO, unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL:
		return target == ErrNotKnown
	case unix.ECHILD:
		return target == ErrNoTask
	}
	return false
}

func failed(op string, task int, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return &Error{op, task, errno}
}

// IsGone reports whether an error of a request, or of a file in /proc, means that a task or a
// process has ended.
func IsGone(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH)
}
