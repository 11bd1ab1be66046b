package access

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/procfs"
)

// A wait for a child that another thread of this process traces gets its stops, too
// (wait_consider_task): what it gets the session never sees, and the program stands.
// Go's exec.Cmd.Wait is one.

// noThread is __WNOTHREAD: of what other threads trace it is told nothing. Sessions
// wait so.
const noThread = 0x20000000

// waitedFor reports whether a thread of this process waits for a child.
func waitedFor(child procfs.Status) bool {
	if child.Number("PPid") != os.Getpid() {
		return false
	}
	pid := child.Number("Pid")
	tasks, _ := procfs.Tasks(os.Getpid())
	for _, tid := range tasks {
		b, _ := os.ReadFile(procfs.Path(tid, "syscall"))
		if waitsFor(string(b), pid) {
			return true
		}
	}
	return false
}

// waitsFor reports whether a thread waits for a child, by what /proc/PID/task/TID/syscall
// says: the call's number and arguments, in hexadecimal.
func waitsFor(line string, pid int) bool {
	f := strings.Fields(line)
	if len(f) < 7 {
		return false
	}
	nr, _ := strconv.Atoi(f[0])
	arg := func(i int) int {
		n, _ := strconv.ParseUint(f[1+i], 0, 64)
		return int(int32(n)) // ids are signed, and the upper half is anything
	}
	switch nr {
	case syscall.SYS_WAIT4:
		return (arg(0) == pid || arg(0) == -1) && arg(2)&noThread == 0
	case syscall.SYS_WAITID:
		const all, one, fd = 0, 1, 3 // P_ALL, P_PID, P_PIDFD
		if arg(3)&noThread != 0 {
			return false
		}
		return arg(0) == all || arg(0) == one && arg(1) == pid || arg(0) == fd && procfs.PIDOf(arg(1)) == pid
	}
	return false
}
