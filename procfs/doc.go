// Package procfs is the door to /proc: what the kernel tells of processes and threads in
// text (proc(5)). What it tells by requests is behind the door of ptrace.
//
// A task is named by its thread id. A file of /proc may be of a task that ends while it is
// read, and its id may be another's by then: the caller knows whether that can be.
package procfs
