package ptrace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/internal/skip"
)

// A kernel that forbids executing memory gets the stub as a file, which is deleted as soon as the
// stub runs.
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

// TestHold starts a helper with another user's ids, which is stopped as often as that user could
// stop it: it has only that user's ids, shows its file to the user, and signals do not prevent
// that.
func TestHold(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const user, group = 65534, 65533
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 20 {
		stop := make(chan bool)
		quiet := make(chan bool)
		go func() { // SIGSTOP at any moment of the change of ids
			defer close(quiet)
			for {
				select {
				case <-stop:
					return
				default:
					signalChildren(unix.SIGSTOP)
				}
			}
		}()
		pid, err := Hold(file.Fd(), user, group)
		close(stop)
		<-quiet
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for _, want := range []string{"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65533\t65533\t65533\t65533\n", "\nGroups:\t \n", "\nTracerPid:\t0\n", "\nCapPrm:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("its status has no %q (%v): %s", want, err, status)
			}
		}
		fi, err := os.Stat(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil || fi.Sys().(*syscall.Stat_t).Uid != user {
			t.Errorf("its files are not its user's: %v", err)
		}
		Reap(pid)
	}
}

// signalChildren sends a signal to the children of this process that Hold has started.
func signalChildren(signal unix.Signal) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range tasks {
		list, _ := os.ReadFile(name)
		for _, pid := range strings.Fields(string(list)) {
			n, _ := strconv.Atoi(pid)
			if args, _ := os.ReadFile("/proc/" + pid + "/cmdline"); n > 0 && strings.HasPrefix(string(args), "ptracer-file") {
				_ = unix.Kill(n, signal)
			}
		}
	}
}
