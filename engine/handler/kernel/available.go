package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/ptracer/ptracer/failure"
	"golang.org/x/sys/unix"
)

// Available returns why this process can't run handlers in the kernel, nil if it can. It tries a
// map, a program with a helper that reads user memory, and a uprobe in a file that is never run,
// and removes all of them afterwards. It does not repeat a test that has succeeded: the kernel
// takes 100 ms to remove a uprobe.
func Available() error {
	if worked.Load() {
		return nil
	}
	err := try()
	worked.Store(err == nil)
	return err
}

var worked atomic.Bool

func try() error {
	if err := uprobePMU(); err != nil {
		return err
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return refused("no eBPF map", err)
	}
	defer m.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Kprobe, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnProbeReadUser.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}})
	if err != nil {
		return refused("no eBPF program that reads user memory", err)
	}
	defer p.Close()
	return uprobes(p)
}

// uprobes tries a uprobe: at the second word of a file in memory that no process maps, so that
// nothing is patched.
func uprobes(p *ebpf.Program) error {
	fd, err := unix.MemfdCreate("uprobe", unix.MFD_CLOEXEC)
	if err != nil {
		return refused("no memory file", err)
	}
	f := os.NewFile(uintptr(fd), "uprobe")
	defer f.Close()
	if _, err := f.Write(make([]byte, 64)); err != nil {
		return refused("no memory file", err)
	}
	file, err := link.OpenExecutable(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return refused("no /proc", err)
	}
	k, err := file.Uprobe("", p, &link.UprobeOptions{Address: 4, PID: os.Getpid()})
	if err != nil {
		return refused("no uprobe", err)
	}
	return k.Close()
}

// refused returns why the kernel refused what.
func refused(what string, err error) error {
	u := &failure.Unsupported{What: "handlers in the kernel: " + what, Err: err}
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		u.Needs = "CAP_BPF and CAP_PERFMON, or root of the machine"
		if mode := lockdown(); mode != "" {
			u.Needs += ", and a kernel that is not locked down (" + mode + ")"
		}
	case errors.Is(err, unix.ENOSYS) || errors.Is(err, ebpf.ErrNotSupported):
		u.Needs = "a kernel that was built with it"
	}
	return u
}

// lockdown is the kernel's lockdown mode, "" if there is none.
func lockdown() string {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, mode, ok := strings.Cut(string(text), "[")
	mode, _, _ = strings.Cut(mode, "]")
	if !ok || mode == "none" {
		return ""
	}
	return mode
}
