package ptrace

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// WaitsForChild reports whether a task is in vfork, or a similar clone, and waits until the child
// has left its memory; the task can't be stopped then. The kernel reports the number of the system
// call that a task sleeps in (proc(5), /proc/pid/syscall), and state D, in which none of these
// calls stays long otherwise.
func WaitsForChild(tid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if err != nil {
		return false
	}
	if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'D' {
		return false
	}
	call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
	if err != nil {
		return false
	}
	number, _, _ := bytes.Cut(call, []byte(" "))
	nr, err := strconv.Atoi(string(number))
	return err == nil && slices.Contains(childCalls, nr)
}
