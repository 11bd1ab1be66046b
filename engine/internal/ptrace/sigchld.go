package ptrace

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel sends a tracer SIGCHLD at each stop of a tracee (do_notify_parent_cldstop,
// kernel/signal.c), and the Go runtime has a handler for it. That costs a signal frame and a return
// per hit for nothing, since wait reports the stop. SA_NOCLDSTOP turns these signals off. Signals
// for the ends of children, and the channels of os/signal, are not affected.
const saNoCldStop = 1

var quiet struct {
	sync.Mutex
	users int
	was   bool // the flag was set before
}

// QuietStops turns off the SIGCHLD that this process gets at each stop, until each function that it
// has returned has been called.
func QuietStops() (undo func()) {
	quiet.Lock()
	defer quiet.Unlock()
	if quiet.users++; quiet.users == 1 {
		quiet.was = setNoCldStop(true)
	}
	return func() {
		quiet.Lock()
		defer quiet.Unlock()
		if quiet.users--; quiet.users == 0 && !quiet.was {
			setNoCldStop(false)
		}
	}
}

// setNoCldStop sets or clears the flag and reports whether it was set.
func setNoCldStop(on bool) (was bool) {
	var a SigAction
	if sigaction(unix.SIGCHLD, nil, &a) != 0 {
		return true
	}
	was = a.Flags&saNoCldStop != 0
	if was == on {
		return was
	}
	a.Flags ^= saNoCldStop
	_ = sigaction(unix.SIGCHLD, &a, nil)
	return was
}

func sigaction(sig unix.Signal, set, old *SigAction) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return errno
}
