package ptrace

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzDecode decodes any status: it never panics, and agrees with the C library's macros in x/sys.
func FuzzDecode(f *testing.F) {
	for _, status := range []uint32{0, 0x0100, 9, 0x8b, 0x057f, 0x857f, 0x80057f, 0x80137f, 0x4057f, 0xffff, 0x7f, 0xffffffff, 0x1057f, 0x7057f} {
		f.Add(7, status)
	}
	f.Fuzz(func(t *testing.T, task int, status uint32) {
		s, w := Decode(task, status), unix.WaitStatus(status)
		if s.Task != task {
			t.Errorf("%#x: task %d", status, s.Task)
		}
		switch s.Kind {
		case Exited:
			if !w.Exited() || s.Status != w.ExitStatus() {
				t.Errorf("%#x: exited %d", status, s.Status)
			}
		case Killed:
			if !w.Signaled() || s.Signal != w.Signal() || s.Core != (status&0x80 != 0) {
				t.Errorf("%#x: killed by %v", status, s.Signal)
			}
		case Unknown:
		default:
			if !w.Stopped() || s.Status != 0 || s.Core {
				t.Errorf("%#x: %+v", status, s)
			}
		}
		if w.Exited() && s.Kind != Exited {
			t.Errorf("%#x: exited, told as %d", status, s.Kind)
		}
	})
}

// TestDecode is a table of statuses that kernels report.
func TestDecode(t *testing.T) {
	for status, want := range map[uint32]Stop{
		0:            {Kind: Exited},
		0x2a00:       {Kind: Exited, Status: 42},
		9:            {Kind: Killed, Signal: unix.SIGKILL},
		0x8b:         {Kind: Killed, Signal: unix.SIGSEGV, Core: true},
		0x057f:       {Kind: Signal, Signal: unix.SIGTRAP},
		0x0a7f:       {Kind: Signal, Signal: unix.SIGUSR1},
		0x857f:       {Kind: SyscallStop},
		0x80057f:     {Kind: Trap, Signal: unix.SIGTRAP},
		0x80137f:     {Kind: Group, Signal: unix.SIGSTOP},
		0x80147f:     {Kind: Group, Signal: unix.SIGTSTP},
		0x01057f:     {Kind: Fork, Signal: unix.SIGTRAP},
		0x02057f:     {Kind: VFork, Signal: unix.SIGTRAP},
		0x03057f:     {Kind: Clone, Signal: unix.SIGTRAP},
		0x04057f:     {Kind: Exec, Signal: unix.SIGTRAP},
		0x05057f:     {Kind: VForkDone, Signal: unix.SIGTRAP},
		0x06057f:     {Kind: Exit, Signal: unix.SIGTRAP},
		0x07057f:     {Kind: Seccomp, Signal: unix.SIGTRAP},
		0x63057f:     {Kind: Unknown, Signal: unix.SIGTRAP},
		0xffff:       {Kind: Unknown},
		34<<8 | 0x7f: {Kind: Signal, Signal: 34},
	} {
		want.Task = 5
		if got := Decode(5, status); got != want {
			t.Errorf("%#x: %+v, want %+v", status, got, want)
		}
	}
}
