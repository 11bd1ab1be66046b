package procfs

import (
	"os"
	"strconv"
	"strings"
)

// UserNamespace names the user namespace of a process; "" if it can't be read.
func UserNamespace(pid int) string { return namespace(pid, "user") }

// SamePIDNamespace reports whether a process sees this one's files in /proc.
func SamePIDNamespace(pid int) bool {
	here := namespace(os.Getpid(), "pid")
	return here != "" && namespace(pid, "pid") == here
}

func namespace(pid int, kind string) string {
	ns, _ := os.Readlink(Path(pid, "ns/"+kind))
	return ns
}

// Yama is kernel.yama.ptrace_scope; -1 where Yama is not active.
func Yama() int {
	b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return -1
	}
	return n
}

// Dumpable reports whether this process may look into another's files: the links of one
// that is not dumpable can't be read.
func Dumpable(pid int) bool {
	exe := Path(LiveTask(pid), "exe")
	_, err := os.Stat(exe)
	_, err2 := os.Readlink(exe)
	return err == nil && err2 == nil
}

// CapSysPtrace is the number of CAP_SYS_PTRACE.
const CapSysPtrace = 19

// HasCap reports whether this process has a capability.
func HasCap(n int) bool {
	st, err := ReadStatus(os.Getpid())
	return err == nil && st.Hex("CapEff")>>n&1 != 0
}
