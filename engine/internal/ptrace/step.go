package ptrace

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// steps is how many steps are left until the process kills itself; 0: it does not.
var steps atomic.Int64

// DieAt is for tests: the process kills itself with SIGKILL just before its n-th step from now on.
// A step is an operation that may change a tracee: a ptrace request, or a write to its memory. A
// system call that a tracee makes for its tracer takes several steps. DieAt returns how many steps
// were left.
func DieAt(n int64) (left int64) { return steps.Swap(n) }

// step counts one step.
func step() {
	if steps.Load() != 0 && steps.Add(-1) == 0 {
		_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
		select {} // this thread does nothing more
	}
}
