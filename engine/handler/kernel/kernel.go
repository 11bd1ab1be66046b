// Package kernel is the executor that lets the kernel run handlers: the program
// is loaded as eBPF and attached to uprobes, its maps are the kernel's, and are
// read back in the shape that all maps here have. It needs what eBPF needs: the
// right (CAP_BPF and CAP_PERFMON, or root), and a kernel that allows it.
//
// It also runs a program once on made-up registers (LoadTest, TestRun), which
// is how the other executors are compared with the kernel.
//
// Everything goes through cilium/ebpf. It must not import the other executors,
// nor anything that traces: the kernel's uprobes need no ptrace.
package kernel

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/ptracer/ptracer/failure"
)

// reason makes a failure.Unsupported of errors that are the machine's, not the program's: its
// kernel does not do what was asked, whatever the program.
func reason(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return &failure.Unsupported{What: "handlers in the kernel", Err: err}
	}
	return err
}
