package leak

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
)

// The tests of this package run it once more as a child, with the name of
// something to leave behind in this variable.
const leaveEnv = "PTRACER_LEAVE"

// leaving is what a child can leave behind.
var leaving = map[string]func(program string) error{
	"nothing":   func(string) error { return nil },
	"goroutine": func(string) error { go func() { select {} }(); return nil },
	"file": func(string) (err error) {
		kept, err = os.Open("/dev/zero")
		return err
	},
	"zombie": func(program string) error {
		return exec.Command(program, "0").Start()
	},
	"orphan": func(program string) error { // its parent leaves at once, init has it
		return exec.Command("/proc/self/exe", "orphan", program).Run()
	},
	"tracee": func(program string) error {
		runtime.LockOSThread()
		cmd := exec.Command(program, "pause")
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		return cmd.Start()
	},
}

// kept keeps a file from being closed by its finalizer.
var kept *os.File

type leaver string

func (l leaver) Run() int {
	if err := leaving[string(l)](os.Getenv("PTRACER_PROGRAM")); err != nil {
		fmt.Println(err)
		return 3
	}
	return 0
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "orphan" {
		cmd := exec.Command(os.Args[2], "pause")
		if cmd.Start() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if what := os.Getenv(leaveEnv); what != "" {
		os.Unsetenv(leaveEnv)
		Main(leaver(what))
	}
	Main(m)
}

func TestLeaks(t *testing.T) {
	program := fixture.Path(t, "sleeper")
	for what, want := range map[string]string{
		"nothing":   "",
		"goroutine": "created by " + module + "internal/leak",
		"file":      "open file",
		"zombie":    "zombie",
		"orphan":    "process",
		"tracee":    "traced by our thread",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), leaveEnv+"="+what, "PTRACER_PROGRAM="+program)
			out, err := cmd.CombinedOutput()
			if (err != nil) != (want != "") || !strings.Contains(string(out), want) {
				t.Errorf("%v, printed %q; want %q", err, out, want)
			}
			reap(t, string(out))
		})
	}
}

// reap ends the processes that a child named as left behind.
func reap(t *testing.T, out string) {
	for line := range strings.Lines(out) {
		var pid int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "process %d:", &pid); n == 1 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				t.Error(err)
			}
		}
	}
}

func TestSettle(t *testing.T) {
	asked := 0
	start := time.Now()
	left := settle(func() []string {
		if asked++; asked < 3 {
			return []string{"slow"}
		}
		return nil
	})
	if left != nil || asked != 3 || time.Since(start) > grace {
		t.Errorf("left %q after %d questions; want to wait for what goes by itself", left, asked)
	}
}
