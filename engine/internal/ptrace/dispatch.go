package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dispatch is what system calls of a task come back to it as SIGSYS (prctl(2),
// PR_SET_SYSCALL_USER_DISPATCH): the kernel's struct ptrace_sud_config. The zero value
// is none.
type Dispatch struct{ Mode, Selector, Offset, Len uint64 }

// On reports whether there are such calls.
func (d Dispatch) On() bool { return d.Mode != 0 }

const (
	requestSetDispatch = 0x4210 // PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, include/uapi/linux/ptrace.h
	requestGetDispatch = 0x4211
	dispatchInclusive  = 2 // PR_SYS_DISPATCH_INCLUSIVE_ON
)

// GetDispatch reads a stopped task's. The kernel can tell since Linux 6.4; one that has
// no such thing says EINVAL (include/linux/syscall_user_dispatch.h), an older one EIO.
func GetDispatch(task int) (d Dispatch, err error) {
	errno := requestAt(requestGetDispatch, task, unsafe.Sizeof(d), unsafe.Pointer(&d))
	if errno == unix.EINVAL {
		return Dispatch{}, nil
	}
	return d, failed("PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", task, errno)
}

// SetDispatch replaces a stopped task's.
func SetDispatch(task int, d Dispatch) error {
	errno := setDispatch(task, d)
	if errno == unix.EINVAL && d.On() {
		// The kernel keeps a range whose calls are those that come back as its
		// complement, and takes it so in the other mode only (task_set_syscall_user_dispatch).
		errno = setDispatch(task, Dispatch{dispatchInclusive, d.Selector, d.Offset + d.Len, -d.Len})
	}
	return failed("PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG", task, errno)
}

func setDispatch(task int, d Dispatch) unix.Errno {
	return requestAt(requestSetDispatch, task, unsafe.Sizeof(d), unsafe.Pointer(&d))
}
