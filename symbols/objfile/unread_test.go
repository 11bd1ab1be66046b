package objfile

import (
	"os"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestCause: of several ways to a file that failed the one is told that says why.
func TestCause(t *testing.T) {
	perm, none := &os.PathError{Op: "open", Path: "/proc/1/x", Err: syscall.EPERM}, &os.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}
	full := &os.PathError{Op: "open", Path: "/x", Err: syscall.EMFILE}
	for _, c := range []struct {
		errs []error
		want string
	}{
		{[]error{perm, full}, "cannot open /f: too many open files (raise 'ulimit -n')"},
		{[]error{perm, none}, "cannot open /f: operation not permitted (run as root)"},
		{[]error{perm, ErrReplaced}, "cannot open /f: another file has its name by now (run as root)"},
		{[]error{none, full}, "cannot open /f: too many open files (raise 'ulimit -n')"},
		{[]error{none, ErrReplaced}, "cannot open /f: no such file or directory"},
	} {
		if got := (&UnreadError{Path: "/f", Err: Cause(c.errs)}).Error(); got != c.want {
			t.Errorf("%v: %s", c.errs, got)
		}
	}
}
