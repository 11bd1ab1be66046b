package ptrace

import "github.com/ptracer/ptracer/arch"

// Restart does nothing: the kernel decides before the stop whether to repeat a system call
// (do_signal, arch/arm64/kernel/signal.c), and does not restore its first argument.
func Restart(*arch.Regs) bool { return false }
