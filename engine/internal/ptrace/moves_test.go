package ptrace

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// TestStackMoves makes the stack of the tracing thread grow at each point of a request: the caller
// still gets what the kernel has written. The runtime moves a stack that grows; an address in it
// that has been converted to a number then points to freed memory.
func TestStackMoves(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = Kill(b.pid) }()
	b.Ring()
	if s, _, err := Wait(b.pid, true); err != nil || s.Kind != Signal {
		t.Fatalf("%+v, %v", s, err)
	}
	var want arch.Regs
	if err := GetRegs(b.pid, &want); err != nil || want[PCWord] == 0 {
		t.Fatal(want, err)
	}
	for _, c := range []struct {
		name string
		ask  func() bool
	}{
		{"registers", func() bool {
			var r arch.Regs
			return GetRegs(b.pid, &r) == nil && r == want
		}},
		{"registers set", func() bool {
			r := want
			return SetRegs(b.pid, &r) == nil && r == want
		}},
		{"PC", func() bool {
			pc, err := GetPC(b.pid)
			return err == nil && uint64(pc) == want[PCWord]
		}},
		{"signal", func() bool {
			var info SigInfo
			return GetSigInfo(b.pid, &info) == nil && info.Signal() == unix.SIGUSR1
		}},
		{"signal set", func() bool {
			var info SigInfo
			info[0] = byte(unix.SIGUSR1)
			return SetSigInfo(b.pid, &info) == nil && info.Signal() == unix.SIGUSR1
		}},
		{"signal mask", func() bool {
			_ = SetSigMask(b.pid, 1<<9)
			mask, err := GetSigMask(b.pid)
			return err == nil && mask == 1<<9
		}},
		{"stop", func() bool {
			s, ok, err := Wait(b.pid, false)
			return ok && err == nil && s.Task == b.pid && s.Signal == unix.SIGUSR1
		}},
	} {
		for depth := range 400 {
			runtime.GC() // the stack shrinks
			if !deeper(depth, c.ask) {
				t.Errorf("%s: wrong, %d calls deep", c.name, depth)
				break
			}
		}
	}
	var last arch.Regs
	if err := GetRegs(b.pid, &last); err != nil || last != want {
		t.Errorf("registers are %v, were %v: %v", last, want, err)
	}
}

// deeper makes the request n small frames further down.
//
//go:noinline
func deeper(n int, ask func() bool) bool {
	if n == 0 {
		return ask()
	}
	return deeper(n-1, ask)
}
