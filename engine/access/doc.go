// Package access knows which process may trace which, and why not: what the kernel would
// say (ptrace(2), Yama, capabilities, namespaces), said beforehand and with a remedy. It attaches to
// nothing. The kernel has the last word: an answer here is true of the moment at which it was
// given.
package access
