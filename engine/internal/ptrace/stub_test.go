package ptrace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A kernel that lets nobody execute memory gets the stub as a file, which is
// gone as soon as it runs.
func TestStubFromFile(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t.Setenv("TMPDIR", t.TempDir())
	pid, err := startStubFile([]string{"ptracer-stub"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		t.Fatal(err)
	}
	defer Reap(pid)
	if err := Seize(pid, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Tgkill(pid, pid, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if s, _, err := Wait(pid, true); err != nil || s.Kind != Signal || s.Signal != unix.SIGUSR1 {
		t.Errorf("%+v, %v; the stub sleeps until a signal stops it", s, err)
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestReapBeforeExit ends a program that stops when it is about to end.
func TestReapBeforeExit(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := Launch(Command{Path: "/proc/self/exe", Files: []uintptr{0, 1, 2}}, Follow|BeforeExit)
	if err != nil {
		t.Fatal(err)
	}
	done := time.AfterFunc(20*time.Second, func() { panic("it is not reaped") })
	defer done.Stop()
	Reap(pid)
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("it is there: %v", err)
	}
}

// TestLaunchIgnored has a program ignore signals that this process has handlers for.
func TestLaunchIgnored(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const want = 1<<(unix.SIGPIPE-1) | 1<<(unix.SIGTERM-1) | 1<<(37-1) | 1<<(64-1)
	for _, ignored := range []uint64{0, want} {
		pid, err := Launch(Command{Path: "/proc/self/exe", Files: []uintptr{0, 1, 2}, Ignored: ignored}, Follow)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		Reap(pid)
		_, line, _ := strings.Cut(string(b), "SigIgn:")
		var got uint64
		if _, e := fmt.Sscanf(line, "%x", &got); errors.Join(err, e) != nil || got&want != ignored {
			t.Errorf("it ignores %x, %v, %v; want %x", got, err, e, ignored)
		}
	}
}
