// Package kernel is the executor that runs handlers in the kernel: it loads the program as eBPF and
// attaches it to uprobes. The maps are the kernel's, and are read in the form that all maps of
// handlers have. It requires the right to use eBPF (CAP_BPF and CAP_PERFMON, or root), and a kernel
// that permits it.
//
// It also runs a program once with made-up registers (LoadTest, TestRun), to compare the other
// executors with the kernel.
//
// All calls go through cilium/ebpf. The package must not import the other executors, nor anything
// that traces: the kernel's uprobes need no ptrace.
package kernel

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/ptracer/ptracer/failure"
)

// reason makes a failure.Unsupported of errors that the machine causes, not the program: its kernel
// refuses the operation for any program.
func reason(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return &failure.Unsupported{What: "handlers in the kernel", Err: err}
	}
	return err
}
