package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/procfs"
)

// The test binary is also the tracer that gets killed: a process of its own,
// told by its environment which part to play.
const (
	tracerEnv = "PTRACER_TEST_TRACER"
	victimEnv = "PTRACER_TEST_VICTIM"
	probesEnv = "PTRACER_TEST_PROBES"
)

var tracers = map[string]func(){"cycle": cycleForever, "latency": latencyForever, "resident": residentForever}

// cycleForever attaches, probes, unregisters, detaches, over and over, until
// it is killed.
func cycleForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	fmt.Println("go")
	for n := 0; ; n++ {
		s, err := Attach(context.Background(), pid, Options{Follow: n%2 == 0})
		if err != nil {
			if os.Getenv("PTRACER_TEST_VERBOSE") != "" {
				fmt.Fprintln(os.Stderr, err)
			}
			return
		}
		for _, loc := range strings.Split(os.Getenv(probesEnv), " ") {
			id, err := s.Register(ProbeSpec{Location: loc, Action: Action(n % 2), Pending: true})
			if err == nil && n%3 == 0 {
				defer s.Unregister(id)
			}
		}
		time.Sleep(time.Duration(n%5) * time.Millisecond)
		if err := s.Detach(); err != nil && os.Getenv("PTRACER_TEST_VERBOSE") != "" {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// latencyForever does it with a handler that has helpers in the program.
func latencyForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	fmt.Println("go")
	for n := 0; ; n++ {
		s, err := Attach(context.Background(), pid, Options{Follow: true})
		if err != nil {
			return
		}
		if h, err := s.OpenHandler(HandlerSpec{Name: []string{"latency", "record"}[n%2], Where: handler.Tracee}); err == nil {
			for _, loc := range strings.Split(os.Getenv(probesEnv), " ") {
				_, _ = s.Register(ProbeSpec{Location: loc, Handler: h, Pending: true})
			}
			time.Sleep(time.Duration(n%5) * time.Millisecond)
			if n%3 == 0 {
				_ = h.Close()
			}
		}
		_ = s.Detach()
	}
}

// rounds is how often the tracer is killed: PTRACER_TEST_ROUNDS, or few.
func rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PTRACER_TEST_ROUNDS")); err == nil {
		return n
	}
	return few
}

// TestSurvive kills the tracer with SIGKILL at random moments: the program
// must end with the result it has without a tracer.
func TestSurvive(t *testing.T) {
	for _, c := range []struct {
		fixture string
		args    []string
		probes  string
	}{
		{"threads", []string{"3", "40000", "1000"}, "work work+*"},
		{"threads", []string{"3", "40000", "999"}, "work work%return libc:malloc libc:malloc%return libc:free%return"},
		{"threads-static", []string{"3", "40000", "1000"}, "work"},
		{"gowork", []string{"3", "40000", "1000"}, "main.work main.deep main.work%return runtime.mallocgc"},
		{"gowork-stripped", []string{"3", "40000", "1000"}, "main.work"},
		{"short", []string{"3", "40000", "1000"}, "pick%return"}, // a pun
		{"short", []string{"3", "40000", "999"}, "pick+*"},
		{"forker", []string{"fork", "60"}, "work libc:malloc libc:fork"},
		{"forker", []string{"vfork", "60"}, "work libc:vfork"},
		{"forker", []string{"spawn", "60"}, "work libc:malloc"},
	} {
		t.Run(c.fixture+"-"+c.args[0], func(t *testing.T) {
			if c.args[0] == "spawn" {
				needsJumping(t) // a child meets ptracer's trap with all signals blocked (hook/gate.go)
			}
			surviveAll(t, c.fixture, c.args, "cycle", c.probes)
		})
	}
	t.Run("handlers", func(t *testing.T) {
		needsJumps(t)
		surviveAll(t, "threads", []string{"3", "40000", "1000"}, "latency", "work libc:malloc libc:free")
		surviveAll(t, "forker", []string{"fork", "60"}, "latency", "work libc:malloc")
		surviveAll(t, "queue", []string{"300"}, "latency", "work") // signals while tasks are in trampolines
	})
}

// surviveAll kills a tracer that plays the given part.
func surviveAll(t *testing.T, name string, args []string, part, probes string) {
	path := fixture.Path(t, name)
	want, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatalf("unprobed: %v", err)
	}
	outlived, late := 0, 40*time.Millisecond
	for i := 0; i < rounds(pace(15, 5)) || outlived == 0; i++ {
		if survive(t, i, path, args, part, probes, string(want), late) {
			outlived++
		} else {
			late = max(late/2, 100*time.Microsecond) // it ends sooner than that on this machine
		}
	}
	t.Logf("%d programs outlived their tracer", outlived)
}

// survive kills the tracer of a program within a time from its start. It reports whether the
// program was still there.
func survive(t *testing.T, round int, path string, args []string, part, probes, want string, late time.Duration) (outlived bool) {
	t.Helper()
	victim := exec.Command(path, append(args, "wait")...)
	start, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	victim.Stdout, victim.Stderr = &out, &errs
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	tracer := exec.Command("/proc/self/exe", "-test.run=^$")
	tracer.Env = append(os.Environ(), tracerEnv+"="+part, probesEnv+"="+probes,
		victimEnv+"="+strconv.Itoa(victim.Process.Pid))
	tracer.Stderr = os.Stderr
	started, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	started.Read(make([]byte, 3))
	start.Write([]byte{'\n'})
	delay := time.Duration(rand.Int64N(int64(late)))
	time.Sleep(delay)
	outlived = procfs.State(victim.Process.Pid) != 'Z'
	_ = tracer.Process.Kill()
	_ = tracer.Wait()
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(60 * time.Second):
		_ = victim.Process.Signal(syscall.SIGKILL)
		t.Fatalf("round %d: the program hangs after its tracer was killed at %v", round, delay)
	}
	if err != nil || unpid(out.String()) != unpid(want) {
		t.Fatalf("round %d: tracer killed at %v: program ended with %v and %q (%s), want %q",
			round, delay, err, out.String(), errs.String(), want)
	}
	return outlived
}

// unpid leaves out the lines that differ from run to run. The order in which signals
// come may: one that a dead tracer had in its hands comes behind those that wait.
func unpid(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if head, values, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(head, "signal ") {
			line = head + ": " + strings.Join(slices.Sorted(slices.Values(strings.Fields(values))), " ") + "\n"
		}
		if !strings.HasPrefix(line, "pid ") && !strings.HasPrefix(line, "child ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
