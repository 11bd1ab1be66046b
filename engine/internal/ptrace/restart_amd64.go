package ptrace

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// ended are the system calls that fail with EINTR after their task was only stopped for a moment
// and ran no signal handler (signal(7), "Interruption of system calls and library functions by stop
// signals"), including those that wait for a socket with a timeout. They have had no effect by
// then. close and connect are not listed, since they have had one.
var ended = []uint64{
	unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_IO_URING_ENTER,
	unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
	unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
}

// Restart makes a task repeat a system call that a stop has ended, as the kernel does itself with
// other calls. The task repeats it when it is resumed, unless a handler runs first, which gets
// EINTR as always (-ERESTARTNOHAND: arch_do_signal_or_restart and handle_signal,
// arch/x86/kernel/signal.c). Restart reports whether r is of such a call. A timeout starts again.
func Restart(r *arch.Regs) bool {
	const eintr, restartNoHand = -4, -514 // include/linux/errno.h
	const rax = 10
	if int64(r[rax]) != eintr || !slices.Contains(ended, r[SyscallWord]) {
		return false
	}
	v := int64(restartNoHand)
	r[rax] = uint64(v)
	return true
}
