package objfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// What can't be read is not empty: a name that was not found may be in there. So the reason is
// kept, and told with each answer that lacks it.

// ErrUnread is wrapped by errors about files that there are and that could not be read.
var ErrUnread = errors.New("cannot be read")

// UnreadError is of a file that there is and that could not be read.
type UnreadError struct {
	Path    string // "" where the reason is none of a file's
	Deleted bool   // the file has no name any more
	Err     error
}

func (e *UnreadError) Error() string {
	op, why := reasonOf(e.Err)
	if e.Path != "" {
		why = fmt.Sprintf("cannot %s %s: %s", op, e.Path, why)
	}
	return why + adviceFor(e.Err)
}

// Unwrap gives the cause.
func (e *UnreadError) Unwrap() error { return e.Err }

// Is makes it an ErrUnread.
func (e *UnreadError) Is(target error) bool { return target == ErrUnread }

// IsLoader reports whether the file is a dynamic loader, by its name.
func (e *UnreadError) IsLoader() bool { return IsLoaderName(e.Path) }

// shortages are errors of a machine, or a process, that has not enough of something, or is
// broken: they tell nothing of the file.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO}

func isShortage(err error) bool {
	return slices.ContainsFunc(shortages, func(e error) bool { return errors.Is(err, e) })
}

// ErrReplaced is of a path that names another file than the mapped one.
var ErrReplaced = errors.New("another file has its name by now")

// reasonOf is what failed, and an error's text without the path, which may be that of an entry
// in /proc.
func reasonOf(err error) (op, why string) {
	var at *fs.PathError
	switch {
	case errors.As(err, &at) && at.Op == "open":
		return at.Op, at.Err.Error()
	case errors.Is(err, ErrReplaced):
		return "open", err.Error()
	}
	return "read", err.Error()
}

// adviceFor says what helps, where something does.
func adviceFor(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return " (raise 'ulimit -n')"
	case errors.Is(err, syscall.ENFILE):
		return " (raise sysctl fs.file-max)"
	case errors.Is(err, ErrReplaced), errors.Is(err, fs.ErrPermission):
		return " (run as root)"
	}
	return ""
}

// Cause is the one of the errors of several ways to the mapped file that says why there was
// none. The first is of the link that only some may follow.
func Cause(errs []error) error {
	if i := slices.IndexFunc(errs, isShortage); i >= 0 {
		return errs[i]
	}
	if isGone(errs[0]) { // the mapping, or the process
		return errs[0]
	}
	for _, err := range errs[1:] {
		if !isGone(err) {
			return err
		}
	}
	return errs[0]
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// IsMissing is whether nothing readable was to be expected at a path: there is nothing, or no
// file.
func IsMissing(err error) bool {
	return isGone(err) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, ErrNotRegular)
}

// IsLoaderName knows dynamic loaders by their file name.
func IsLoaderName(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(base, "ld-") && strings.Contains(base, ".so") || base == "ld.so"
}

// Reasons are why some of what a file may say is not known; any goroutine may note one.
type Reasons struct {
	mu   sync.Mutex
	errs []error
}

// mostReasons is how many are kept.
const mostReasons = 3

// Note keeps a reason, once.
func (r *Reasons) Note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(e error) bool { return e.Error() == err.Error() }
	if len(r.errs) < mostReasons && !slices.ContainsFunc(r.errs, same) {
		r.errs = append(r.errs, err)
	}
}

// Err is all of them, nil for none.
func (r *Reasons) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}
