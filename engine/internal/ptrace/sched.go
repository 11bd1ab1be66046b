package ptrace

import (
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CPUSet is a thread's allowed CPUs.
type CPUSet = unix.CPUSet

// Affinity is the calling thread's allowed CPUs.
func Affinity() (set CPUSet) {
	_ = unix.SchedGetaffinity(0, &set)
	return set
}

// SetAffinity changes the calling thread's allowed CPUs.
func SetAffinity(set *CPUSet) error { return unix.SchedSetaffinity(0, set) }

// SetCPU ties the calling thread to one CPU.
func SetCPU(cpu int) error {
	var set CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

// SetIdleClass moves the calling thread to SCHED_IDLE, or back to SCHED_OTHER.
// Both are allowed to every thread (sched(7), since Linux 2.6.39).
func SetIdleClass(idle bool) error {
	const schedOther, schedIdle = 0, 5
	policy := schedOther
	if idle {
		policy = schedIdle
	}
	var priority int32
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, uintptr(policy), uintptr(unsafe.Pointer(&priority)))
	return failed("sched_setscheduler", 0, errno)
}

// RunDelay is how long the calling thread has waited for a CPU in its life,
// ns; 0 where the kernel does not count it (CONFIG_SCHED_INFO).
func RunDelay() int64 {
	b, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n
}

// CanLeaveIdle says whether a thread of ours could return from SCHED_IDLE: it
// counts as nice 20, and leaving it as a raise (user_check_sched_setscheduler,
// kernel/sched/syscalls.c).
func CanLeaveIdle() bool {
	const capSysNice, rlimitNice, niceZero = 23, 13, 20
	var limit unix.Rlimit
	if unix.Getrlimit(rlimitNice, &limit) == nil && limit.Cur >= niceZero {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective>>capSysNice&1 != 0
}
