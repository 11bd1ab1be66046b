package ptrace

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Flags and special handlers of SigAction.
const (
	SigDfl      = 0
	SigIgn      = 1
	SaSigInfo   = 4
	SaRestorer  = 0x04000000
	SaOnStack   = 0x08000000
	SaRestart   = 0x10000000
	SaNoDefer   = 0x40000000
	SaResetHand = 0x80000000

	saNoCldWait  = 2
	saExposeTags = 0x800
	knownFlags   = saNoCldStop | saNoCldWait | SaSigInfo | SaOnStack | SaRestart | SaNoDefer | SaResetHand | saExposeTags | SaRestorer
	unmaskable   = 1<<(SIGKILL-1) | 1<<(SIGSTOP-1)
)

// Kept is what the kernel stores of an action that a program sets: SIGKILL and SIGSTOP can't be
// blocked, and since Linux 5.11 unknown flags are cleared (do_sigaction, kernel/signal.c;
// UAPI_SA_FLAGS).
func (a SigAction) Kept() SigAction {
	a.Mask &^= unmaskable
	if clearsFlags() {
		a.Flags &= knownFlags
	}
	return a
}

// Cleared is what the kernel makes of an action for a child that starts without handlers,
// CLONE_CLEAR_SIGHAND (flush_signal_handlers, kernel/signal.c).
func (a SigAction) Cleared() SigAction {
	if a.Handler == SigIgn {
		return SigAction{Handler: SigIgn}
	}
	return SigAction{}
}

// clearsFlags reports whether this kernel clears unknown flags.
var clearsFlags = sync.OnceValue(func() bool {
	var u unix.Utsname
	return unix.Uname(&u) != nil || clearsFlagsIn(unix.ByteSliceToString(u.Release[:]))
})

func clearsFlagsIn(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return true
	}
	return major > 5 || major == 5 && minor >= 11
}
