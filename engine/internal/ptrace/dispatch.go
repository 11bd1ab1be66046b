package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dispatch says which system calls of a task raise SIGSYS in it instead (prctl(2),
// PR_SET_SYSCALL_USER_DISPATCH): the kernel's struct ptrace_sud_config. The zero value means none.
type Dispatch struct{ Mode, Selector, Offset, Len uint64 }

// On reports whether any system calls are dispatched.
func (d Dispatch) On() bool { return d.Mode != 0 }

const (
	requestSetDispatch = 0x4210 // PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, include/uapi/linux/ptrace.h
	requestGetDispatch = 0x4211
	dispatchInclusive  = 2 // PR_SYS_DISPATCH_INCLUSIVE_ON
)

// GetDispatch reads a stopped task's setting. The kernel reports it since Linux 6.4. A kernel
// without the feature returns EINVAL (include/linux/syscall_user_dispatch.h), an older one EIO.
func GetDispatch(task int) (d Dispatch, err error) {
	errno := requestAt(requestGetDispatch, task, unsafe.Sizeof(d), unsafe.Pointer(&d))
	if errno == unix.EINVAL {
		return Dispatch{}, nil
	}
	return d, failed("PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", task, errno)
}

// SetDispatch replaces a stopped task's setting.
func SetDispatch(task int, d Dispatch) error {
	errno := setDispatch(task, d)
	if errno == unix.EINVAL && d.On() {
		// The kernel stores a range of dispatched calls as its complement, and accepts it in that
		// form in the other mode only (task_set_syscall_user_dispatch).
		errno = setDispatch(task, Dispatch{dispatchInclusive, d.Selector, d.Offset + d.Len, -d.Len})
	}
	return failed("PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG", task, errno)
}

func setDispatch(task int, d Dispatch) unix.Errno {
	return requestAt(requestSetDispatch, task, unsafe.Sizeof(d), unsafe.Pointer(&d))
}
