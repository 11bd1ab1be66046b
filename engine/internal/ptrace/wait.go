package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// wait4 tells the Go scheduler only if the call may block.
func wait4(task int, status *uint32, flags int, block bool) (int, unix.Errno) {
	call := unix.RawSyscall6
	if block {
		call = unix.Syscall6
	}
	tid, _, errno := call(unix.SYS_WAIT4, uintptr(task), uintptr(unsafe.Pointer(status)), uintptr(flags), 0, 0, 0)
	return int(tid), errno
}
