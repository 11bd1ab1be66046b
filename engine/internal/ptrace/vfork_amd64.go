package ptrace

import "golang.org/x/sys/unix"

// childCalls are the system calls that may wait for a child to leave the memory.
var childCalls = []int{unix.SYS_VFORK, unix.SYS_CLONE, unix.SYS_CLONE3}
