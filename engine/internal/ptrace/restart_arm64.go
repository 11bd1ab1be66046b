package ptrace

import "github.com/ptracer/ptracer/arch"

// Restart does nothing: the kernel decides before the stop whether a system call is made
// again (do_signal, arch/arm64/kernel/signal.c), and does not give back its first argument.
func Restart(*arch.Regs) bool { return false }
