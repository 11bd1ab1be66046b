// Package proof holds tests only: that the machine they run on can do what all
// else is built on. A failure here is the machine's or the emulator's, not
// ptracer's. It imports nothing of the product.
package proof

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/leak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { leak.Main(m) }

// tracee is a fixture that was started and then seized by a locked thread.
type tracee struct {
	t    *testing.T
	pid  int
	mem  *os.File
	stop unix.WaitStatus
}

func seize(t *testing.T, name string) *tracee {
	t.Helper()
	path := fixture.Path(t, name)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	cmd := exec.Command(path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &tracee{t: t, pid: cmd.Process.Pid}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	waitExec(t, p.pid, path)
	p.request(unix.PTRACE_SEIZE, 0)
	p.request(unix.PTRACE_INTERRUPT, 0)
	p.wait(unix.SIGTRAP)
	if got := p.stop >> 16; got != unix.PTRACE_EVENT_STOP {
		t.Fatalf("event %d, want EVENT_STOP", got)
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.mem = mem
	t.Cleanup(func() { mem.Close() })
	return p
}

func waitExec(t *testing.T, pid int, path string) {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe == path {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d does not run %s", pid, path)
}

func (p *tracee) request(what int, data uintptr) {
	p.t.Helper()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(what), uintptr(p.pid), 0, data, 0, 0); errno != 0 {
		p.t.Fatalf("ptrace %#x: %v", what, errno)
	}
}

func (p *tracee) wait(want unix.Signal) {
	p.t.Helper()
	if _, err := unix.Wait4(p.pid, &p.stop, unix.WALL, nil); err != nil {
		p.t.Fatal(err)
	}
	if !p.stop.Stopped() || p.stop.StopSignal() != want {
		p.t.Fatalf("status %#x, want a stop with %v", uint32(p.stop), want)
	}
}

func (p *tracee) regs() (r unix.PtraceRegs) {
	p.t.Helper()
	if err := unix.PtraceGetRegs(p.pid, &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *tracee) setRegs(r unix.PtraceRegs) {
	p.t.Helper()
	if err := unix.PtraceSetRegs(p.pid, &r); err != nil {
		p.t.Fatal(err)
	}
}

func symbol(t *testing.T, path, name string) uint64 {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if s.Name == name {
			return s.Value
		}
	}
	t.Fatalf("no %s in %s", name, path)
	return 0
}

// TestBreak plants a trap on the first instruction of a loop that counts, and
// lets the loop come by: the register it counts in is the proof that no trap
// was lost and no round slipped by.
func TestBreak(t *testing.T) {
	p := seize(t, "spin")
	at := symbol(t, fixture.Path(t, "spin"), "spin")
	original := make([]byte, len(trap))
	if _, err := p.mem.ReadAt(original, int64(at)); err != nil {
		t.Fatal(err)
	}
	plant := func(code []byte) {
		t.Helper()
		if _, err := p.mem.WriteAt(code, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	plant(trap)
	p.request(unix.PTRACE_CONT, 0)
	p.wait(unix.SIGTRAP)
	for i := range 200 {
		r := p.regs()
		if got := *pc(&r); got != at+trapLen {
			t.Fatalf("round %d: PC %#x after a trap at %#x", i, got, at)
		}
		before := *counter(&r)
		*pc(&r) = at
		p.setRegs(r)
		plant(original)
		p.request(unix.PTRACE_SINGLESTEP, 0)
		p.wait(unix.SIGTRAP)
		plant(trap)
		p.request(unix.PTRACE_CONT, 0)
		p.wait(unix.SIGTRAP)
		r = p.regs()
		if got := *counter(&r); got != before+1 {
			t.Fatalf("round %d: counted %d, want %d", i, got, before+1)
		}
	}
	r := p.regs()
	*pc(&r) = at
	p.setRegs(r)
	plant(original)
	p.request(unix.PTRACE_DETACH, 0)
	if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid)); err != nil || !strings.Contains(string(state), "TracerPid:\t0") {
		t.Errorf("after the detach: %v, %s", err, state)
	}
}

// TestSyscallStops counts the entries and exits of a program that sleeps.
func TestSyscallStops(t *testing.T) {
	p := seize(t, "sleeper")
	for range 6 {
		p.request(unix.PTRACE_SYSCALL, 0)
		if _, err := unix.Wait4(p.pid, &p.stop, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if !p.stop.Stopped() || p.stop.StopSignal() != unix.SIGTRAP {
			t.Fatalf("status %#x, want a system call's stop", uint32(p.stop))
		}
	}
	p.request(unix.PTRACE_DETACH, 0)
}
