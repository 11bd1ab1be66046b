// Init is the first and only program of the arm64 lane's guest: it makes the
// folders that tests expect, runs the plan, says on the console how each test
// binary ended, and switches the machine off.
//
// It is pid 1: it reaps whatever its tests orphan, and must not exit. It is
// static and imports only package guest of this module.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/internal/lane/guest"
)

func main() {
	code := 1
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: only for the lane's guest")
		os.Exit(code)
	}
	if err := prepare(); err != nil {
		fmt.Println("init:", err)
	} else if code, err = run(); err != nil {
		fmt.Println("init:", err)
	}
	say(guest.Line{Kind: guest.End, Code: code})
	syscall.Sync()
	time.Sleep(100 * time.Millisecond) // the console drains
	fmt.Println("init:", syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF))
	select {}
}

// say prints a line of its own, whatever a test left half-printed.
func say(l guest.Line) { fmt.Printf("\n%s\n", l) }

func run() (int, error) {
	text, err := os.ReadFile(guest.PlanPath)
	if err != nil {
		return 1, err
	}
	var plan guest.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return 1, err
	}
	worst := 0
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 1, err
	}
	for _, t := range plan.Tests {
		if !slices.Contains(strings.Fields(string(cmdline)), guest.PartArg+strconv.Itoa(t.Part)) {
			continue
		}
		say(guest.Line{Kind: guest.Run, Package: t.Package})
		start := time.Now()
		code, err := runTest(t, plan.Env)
		if err != nil {
			fmt.Println("init:", err)
			code = 127
		}
		if code != 0 {
			worst = 1
		}
		say(guest.Line{Kind: guest.RC, Package: t.Package, Code: code, Millis: int(time.Since(start).Milliseconds())})
	}
	skips, _ := os.ReadFile(guest.SkipList) // no file: no skips
	for line := range strings.Lines(string(skips)) {
		say(guest.Line{Kind: guest.Skip, Text: strings.TrimSpace(line)})
	}
	return worst, nil
}

// runTest runs one test binary to its end, reaping others meanwhile, and then
// ends whatever it left running, so that it does not disturb the next one.
func runTest(t guest.Test, env []string) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p, err := os.StartProcess(t.Binary, append([]string{t.Binary}, t.Args...), &os.ProcAttr{
		Dir: t.Dir, Env: env, Files: []*os.File{null, os.Stdout, os.Stdout},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	defer p.Release()
	code, err := reapUntil(p.Pid)
	// From pid 1 this reaches everybody else.
	if syscall.Kill(-1, syscall.SIGKILL) == nil {
		_, _ = reapUntil(0)
	}
	return code, err
}

// reapUntil reaps children until pid, or with 0 until there are none, and
// returns pid's exit code as a shell would.
func reapUntil(pid int) (int, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case got != pid:
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}
