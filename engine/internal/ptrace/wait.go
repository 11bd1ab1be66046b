package ptrace

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waitid tells the Go scheduler about the call only if it may block.
func waitid(task int, info *SigInfo, flags int, block bool) unix.Errno {
	kind, id := uintptr(unix.P_ALL), uintptr(0)
	if task > 0 {
		kind, id = unix.P_PID, uintptr(task)
	}
	var errno unix.Errno
	if block {
		_, _, errno = unix.Syscall6(unix.SYS_WAITID, kind, id, uintptr(unsafe.Pointer(info)), uintptr(flags), 0, 0)
	} else {
		_, _, errno = unix.RawSyscall6(unix.SYS_WAITID, kind, id, uintptr(unsafe.Pointer(info)), uintptr(flags), 0, 0)
	}
	return errno
}

// Childless reports whether the calling thread has no children and will not get those of others (as
// the first thread of a process does when another thread ends: find_child_reaper, kernel/exit.c).
func Childless() bool {
	var info SigInfo
	const any = unix.WEXITED | unix.WSTOPPED | unix.WALL | unix.WNOTHREAD | unix.WNOWAIT | unix.WNOHANG
	return waitid(-1, &info, any, false) == unix.ECHILD && unix.Gettid() != unix.Getpid()
}

// Monotonic is CLOCK_MONOTONIC in ns, as read during the call.
func Monotonic() int64 { return clock(unix.CLOCK_MONOTONIC) }

var epoch = time.Now()

// epochOffset is the difference of the two clocks in ns, from the fastest of several tries. The
// process may lose the CPU between two readings, and every time that the engine reports would be
// wrong by that, compared with times that handlers take in the program.
var epochOffset = func() (offset int64) {
	least := time.Hour
	for range 32 {
		before := time.Since(epoch)
		at := Monotonic()
		after := time.Since(epoch)
		if took := after - before; took < least {
			least, offset = took, at-int64(before+took/2)
		}
	}
	return offset
}()

// Now is CLOCK_MONOTONIC in ns, without a system call.
func Now() int64 { return epochOffset + int64(time.Since(epoch)) }

// Wall is the time of day at ns, a time that Now has returned.
func Wall(ns int64) time.Time { return epoch.Add(time.Duration(ns - epochOffset)) }

// BootTime is CLOCK_BOOTTIME, which includes suspended time, in ns.
func BootTime() int64 { return clock(unix.CLOCK_BOOTTIME) }

func clock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts)
	return ts.Nano()
}

// Numbers of the system calls that the engine has a tracee make.
const (
	SysMmap        = unix.SYS_MMAP
	SysClone       = unix.SYS_CLONE
	SysClone3      = unix.SYS_CLONE3
	SysMunmap      = unix.SYS_MUNMAP
	SysOpenat      = unix.SYS_OPENAT
	SysClose       = unix.SYS_CLOSE
	SysRtSigaction = unix.SYS_RT_SIGACTION
	SysMadvise     = unix.SYS_MADVISE
	SysPtrace      = unix.SYS_PTRACE
	SysGetpid      = unix.SYS_GETPID
	SysPrctl       = unix.SYS_PRCTL

	NoCall = ^uint64(0) // no system call's number

	ProtRX         = unix.PROT_READ | unix.PROT_EXEC
	ProtRW         = unix.PROT_READ | unix.PROT_WRITE
	MapPrivateAnon = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	MapShared      = unix.MAP_SHARED
	OpenRW         = unix.O_RDWR | unix.O_CLOEXEC
	MapNoReplace   = unix.MAP_FIXED_NOREPLACE
	WipeOnFork     = unix.MADV_WIPEONFORK
)

// Options of prctl(2) and arch_prctl(2) that the engine watches for.
const (
	PrGetTSC      = unix.PR_GET_TSC
	PrSetTSC      = unix.PR_SET_TSC
	PrTSCFaults   = unix.PR_TSC_SIGSEGV
	PrSetDispatch = unix.PR_SET_SYSCALL_USER_DISPATCH
	ArchSetFS     = 0x1002 // asm/prctl.h
)

// Requests of ptrace(2) with which a program wants to trace, or to be traced.
const (
	TraceMe   = unix.PTRACE_TRACEME
	Attach    = unix.PTRACE_ATTACH
	SeizeTask = unix.PTRACE_SEIZE
)

// ThreadID is the calling thread's id.
func ThreadID() int { return unix.Gettid() }

// HasThread reports whether a thread of this process has not ended yet.
func HasThread(tid int) bool { return unix.Tgkill(unix.Getpid(), tid, 0) == nil }

// Send sends a signal to one task of a process.
func Send(pid, task int, signal Signo) error { return unix.Tgkill(pid, task, signal) }

// SendAll sends a signal to a process; any of its tasks may get it.
func SendAll(pid int, signal Signo) error {
	if err := unix.Kill(pid, signal); err != nil {
		return failed("kill", pid, err.(unix.Errno))
	}
	return nil
}

// Exists reports whether a process exists, including one that has ended and has not been waited
// for.
func Exists(pid int) bool { return unix.Kill(pid, 0) != unix.ESRCH }

// Kill ends a process.
func Kill(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
