// Package ptrace is the one door to ptrace, wait and /proc/PID/mem. It decodes
// the kernel's answers and never decides what to do about them.
//
// The kernel ties a tracee to the thread that attached it, so every function
// here that names a task must run on that one thread (runtime.LockOSThread),
// except Memory (its file works from any thread) and Bell.Ring. Requests
// are raw system calls: they do not block, and telling the Go scheduler of
// each would cost more than the request. Only Wait blocks.
//
// It imports arch for Addr and Regs, and nothing else of the module.
package ptrace
