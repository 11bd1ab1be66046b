package ptrace

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CPUSet is the set of CPUs that a thread may run on.
type CPUSet = unix.CPUSet

// Affinity returns the CPUs that the calling thread may run on.
func Affinity() (set CPUSet) {
	_ = unix.SchedGetaffinity(0, &set)
	return set
}

// SetAffinity changes the CPUs that the calling thread may run on.
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

// RunDelay is how long the calling thread has waited for a CPU since it started, in ns; 0 if the
// kernel does not count it (CONFIG_SCHED_INFO).
func RunDelay() int64 {
	var buf [512]byte
	return number(field(readPath(schedstat, buf[:]), 1))
}

var schedstat = []byte("/proc/thread-self/schedstat\x00")

// Runnable is how many tasks of the machine run or wait for a CPU now, including the calling
// thread; 0 if the kernel does not report it.
func Runnable() int {
	var buf [512]byte
	running, _, _ := bytes.Cut(field(read("/proc/loadavg", buf[:]), 3), []byte("/"))
	return int(number(running))
}

// OwnRunnable is how many threads of this process run or wait for a CPU now, including the calling
// thread. It takes some µs per thread.
func OwnRunnable() (n int) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		var buf [512]byte
		stat := read("/proc/self/task/"+t.Name()+"/stat", buf[:])
		if state := field(stat[bytes.LastIndexByte(stat, ')')+1:], 0); len(state) == 1 && state[0] == 'R' {
			n++
		}
	}
	return n
}

// CPUs is how many CPUs the machine has online, including those that this process may not use.
func CPUs() int {
	var buf [512]byte
	online := bytes.TrimSpace(read("/sys/devices/system/cpu/online", buf[:])) // 0-63, or 0-3,5
	last := number(online[bytes.LastIndexAny(online, "-,")+1:])
	return max(int(last)+1, runtime.NumCPU())
}

// LastCPU is the CPU that a task last ran on, -1 if it is gone (proc_pid_stat(5)).
func LastCPU(task int) int {
	const afterName = 39 - 3
	var buf [512]byte
	var path [32]byte // no allocation: a task waits meanwhile
	stat := readPath(append(strconv.AppendInt(append(path[:0], "/proc/"...), int64(task), 10), "/stat\x00"...), buf[:])
	cpu := field(stat[bytes.LastIndexByte(stat, ')')+1:], afterName)
	if len(cpu) == 0 {
		return -1
	}
	return int(number(cpu))
}

// read reads the start of a small file of /proc into buf. It costs a fraction of os.ReadFile, which
// matters since a task waits meanwhile.
func read(path string, buf []byte) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return readAll(fd, buf)
}

// readPath is read for a path that ends with a 0 byte.
func readPath(path, buf []byte) []byte {
	const here = ^uintptr(99) // AT_FDCWD
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, here, uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil
	}
	return readAll(int(fd), buf)
}

func readAll(fd int, buf []byte) []byte {
	n, _ := unix.Read(fd, buf)
	_ = unix.Close(fd)
	return buf[:max(n, 0)]
}

// field is the i-th word of a line.
func field(line []byte, i int) []byte {
	for ; ; i-- {
		line = bytes.TrimLeft(line, " ")
		end := bytes.IndexAny(line, " \n")
		if end < 0 {
			end = len(line)
		}
		if i == 0 || end == 0 {
			return line[:end]
		}
		line = line[end:]
	}
}

// number reads decimal digits.
func number(word []byte) (n int64) {
	for _, c := range word {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// CanLeaveIdle reports whether a thread of this process could leave SCHED_IDLE again. The kernel
// treats an idle thread as nice 20, and leaving the class as a raise
// (user_check_sched_setscheduler, kernel/sched/syscalls.c).
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
