package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

const (
	dieEnv   = "PTRACER_TEST_DIE"   // the step before which a tracer ends itself
	fromEnv  = "PTRACER_TEST_FROM"  // the first step that is tried, 1 if unset
	stepsEnv = "PTRACER_TEST_STEPS" // how many steps lie between those that are tried; unset: no test
)

func init() { tracers["once"], tracers["freeze"] = traceOnce, freezeAndDie }

// freezeAndDie ends itself at a hit, with the program stopped: the kernel delivers the
// trap, and the task stands at the guard's first instruction.
func freezeAndDie() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid)
	if err == nil {
		_, err = s.Register(ProbeSpec{Location: os.Getenv(probesEnv), Rung: breakpoint.Slot, Action: ActionCall, Func: func(Hit) {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}})
	}
	fmt.Fprintln(os.Stderr, err)
	time.Sleep(10 * time.Second)
}

// traceOnce attaches, plants, counts and detaches, and ends itself at one step of that.
func traceOnce() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	last, _ := strconv.ParseInt(os.Getenv(dieEnv), 10, 64)
	ptrace.DieAt(last)
	err := plantOnce(pid, os.Getenv(probesEnv))
	if left := ptrace.DieAt(0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	} else {
		fmt.Println(last - left)
	}
}

func plantOnce(pid int, where string) error {
	s, err := Attach(context.Background(), pid)
	if err != nil {
		return err
	}
	_, err = s.Register(ProbeSpec{Location: where})
	if h, err2 := s.OpenHandler(HandlerSpec{Name: "latency", Where: handler.Tracee}); err2 == nil && jump.Enabled {
		_, err2 = s.Register(ProbeSpec{Location: where, Handler: h})
		err = errors.Join(err, err2)
	}
	time.Sleep(time.Millisecond)
	return errors.Join(err, s.Detach())
}

// steady is a program that calls a function all the time, and says how often.
type steady struct {
	t     *testing.T
	cmd   *exec.Cmd
	pid   int
	where string
	in    io.WriteCloser
	lines *bufio.Reader
	// What it was before any tracer came.
	text         map[string]string
	maps, caught string
	files        int
}

func startSteady(t *testing.T, name, where string) *steady {
	t.Helper()
	v := &steady{t: t, where: where, cmd: exec.Command(fixture.Path(t, "start"), fixture.Path(t, name), "3", "wait")}
	v.cmd.Stderr = os.Stderr
	in, err := v.cmd.StdinPipe()
	out, err2 := v.cmd.StdoutPipe()
	if err := errors.Join(err, err2, v.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	v.in, v.lines = in, bufio.NewReader(out)
	v.pid = v.said("pid")
	t.Cleanup(func() { _ = syscall.Kill(v.pid, syscall.SIGKILL); _ = v.cmd.Wait() })
	v.tell('\n')
	for range 3 { // until it has all the memory that it needs
		v.hold()
		v.tell('r')
	}
	v.hold()
	v.text, v.maps, v.caught, v.files = textOf(t, v.pid), mapsOf(t, v.pid), field(v.pid, "SigCgt"), v.open()
	v.tell('r')
	return v
}

func (v *steady) tell(c byte) {
	v.t.Helper()
	if _, err := v.in.Write([]byte{c}); err != nil {
		v.t.Fatal(err)
	}
}

// said reads a line of a word and a number.
func (v *steady) said(word string) int {
	v.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(v.pid, syscall.SIGABRT) })
	defer late.Stop()
	line, err := v.lines.ReadString('\n')
	n, err2 := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, word+" ")))
	if err := errors.Join(err, err2); err != nil {
		v.t.Fatalf("%s: %q, %v; it is gone, or hung and was ended", word, line, err)
	}
	return n
}

// hold has it pause, and gives the calls so far.
func (v *steady) hold() int {
	v.t.Helper()
	v.tell('p')
	return v.said("calls")
}

// open is how many files it has open.
func (v *steady) open() int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.pid))
	return len(list)
}

// tracer is this binary, as a tracer of the program that plays a part.
func (v *steady) tracer(part string, env ...string) *exec.Cmd {
	tracer := exec.Command("/proc/self/exe", "-test.run=^$")
	tracer.Env = append(append(os.Environ(), tracerEnv+"="+part, probesEnv+"="+v.where, victimEnv+"="+strconv.Itoa(v.pid)), env...)
	return tracer
}

// dies has a tracer come that ends itself at a step; ended says that it came to its end.
func (v *steady) dies(step int) (ended bool) {
	v.t.Helper()
	tracer := v.tracer("once", dieEnv+"="+strconv.Itoa(step))
	tracer.Stderr = os.Stderr
	out, err := tracer.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return false
	}
	if err != nil {
		v.t.Fatalf("tracer that was to end at step %d: %v %s", step, err, out)
	}
	return true
}

// check has the next tracer come: it counts right, and leaves nothing.
func (v *steady) check(when string) {
	v.t.Helper()
	first := v.hold() // it goes on
	v.tell('r')
	s, err := Attach(context.Background(), v.pid)
	if err != nil {
		v.t.Fatalf("%s: %v; it has%s\n%s", when, err, where(v.pid), newLines(v.maps, mapsOf(v.t, v.pid)))
	}
	id, err := s.Register(ProbeSpec{Location: v.where})
	if err != nil {
		v.t.Fatalf("%s: %v", when, errors.Join(err, s.Detach()))
	}
	calls, hits := v.hold(), s.Hits(id)
	v.tell('r')
	time.Sleep(2 * time.Millisecond)
	calls, hits = v.hold()-calls, s.Hits(id)-hits
	v.tell('r')
	if err := s.Detach(); err != nil {
		v.t.Errorf("%s: detach: %v", when, err)
	}
	if calls <= 0 || hits != uint64(calls) || first < 0 {
		v.t.Errorf("%s: the next tracer has counted %d of %d", when, hits, calls)
	}
	v.clean(when)
}

// clean fails the test if anything of a tracer's is left.
func (v *steady) clean(when string) {
	v.t.Helper()
	v.hold()
	defer v.tell('r')
	isClean(v.t, v.pid, v.text, v.caught)
	now := mapsOf(v.t, v.pid)
	if v.where == "work" && now != v.maps || strings.Contains(now, "memfd:ptracer") {
		v.t.Errorf("%s: mappings that were not there:\n%s", when, newLines(v.maps, now))
	}
	if textOf(v.t, v.pid)["[vdso]"] != v.text["[vdso]"] {
		v.t.Errorf("%s: something is left in the vdso", when)
	}
	if n := v.open(); n != v.files {
		v.t.Errorf("%s: %d files are open, before %d", when, n, v.files)
	}
	if v.t.Failed() {
		v.t.FailNow()
	}
}

// newLines are the lines of now that before does not have.
func newLines(before, now string) (list string) {
	for line := range strings.Lines(now) {
		if !strings.Contains(before, line) {
			list += line
		}
	}
	return list
}

// end has it end.
func (v *steady) end() {
	v.t.Helper()
	v.in.Close()
	if wrong := v.said("wrong"); wrong != 0 {
		v.t.Errorf("%d wrong answers", wrong)
	}
}

var steadies = []struct{ fixture, where string }{{"steady", "work"}, {"gosteady", "main.work"}}

// stride is how many steps lie between those that are tried.
func stride(t *testing.T) int {
	n, _ := strconv.Atoi(os.Getenv(stepsEnv))
	if n == 0 {
		skip.Missing(t, stepsEnv+", the number of steps between those at which a tracer ends")
	}
	return n
}

// TestSurviveSteps ends a tracer at each of its steps, from its coming to its going: the
// program lives and goes on, and the next tracer counts right and leaves nothing.
func TestSurviveSteps(t *testing.T) {
	by := stride(t)
	for _, c := range steadies {
		t.Run(c.fixture, func(t *testing.T) {
			v := startSteady(t, c.fixture, c.where)
			v.check("first")
			n := 1
			if from, err := strconv.Atoi(os.Getenv(fromEnv)); err == nil {
				n = from
			}
			for ; !v.dies(n); n += by {
				v.check(fmt.Sprintf("tracer ended at step %d", n))
				if n%100 < by {
					t.Logf("%d steps so far", n)
				}
			}
			t.Logf("%d steps", n)
			v.end()
		})
	}
}

// TestLeavesGuard has a tracer die with tasks in the guard, where job control keeps them:
// the next one cleans up.
func TestLeavesGuard(t *testing.T) {
	for _, c := range steadies {
		t.Run(c.fixture, func(t *testing.T) {
			v, found := startSteady(t, c.fixture, c.where), 0
			for range 5 {
				_ = v.tracer("freeze").Run()
				for n := 0; n < 500 && !(procfs.State(v.pid) == 'T' && v.inArea()); n++ {
					time.Sleep(time.Millisecond)
				}
				if v.inArea() { // else one of Go's own signals has come on top of it
					found++
				}
				s := attach(t, v.pid)
				detach(t, s)
				for n := 0; n < 2000 && procfs.State(v.pid) != 'T'; n++ { // it stops once more
					time.Sleep(time.Millisecond)
				}
				if v.inArea() || procfs.State(v.pid) != 'T' {
					t.Errorf("in our code: %v, state %c", v.inArea(), procfs.State(v.pid))
				}
				_ = syscall.Kill(v.pid, syscall.SIGCONT)
				v.check("tracer died with tasks in the guard")
			}
			if found == 0 {
				t.Error("no task has been in the guard")
			}
			v.end()
		})
	}
}

// inArea reports whether a task of the program stands in a mapping that was not there before any
// tracer came.
func (v *steady) inArea() bool {
	tids, _ := procfs.Tasks(v.pid)
	for _, tid := range tids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", v.pid, tid))
		words := strings.Fields(string(b))
		if len(words) == 0 {
			continue
		}
		pc, _ := strconv.ParseUint(strings.TrimPrefix(words[len(words)-1], "0x"), 16, 64)
		list, _ := procfs.Maps(v.pid)
		if m := inproc.MappingOf(list, inproc.Region{Addr: arch.Addr(pc), Size: 1}); m != nil && m.Path == "" && m.Perm == "r-xp" {
			return true
		}
	}
	return false
}

// TestTrapHandlerStays detaches while the program is in its own handler of SIGTRAP, which
// the guard has called: it returns when the tracer has gone.
func TestTrapHandlerStays(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "amd64: elsewhere the mappings stay until the handler has returned")
	}
	v := startSteady(t, "steady", "work")
	for range 3 {
		s := attach(t, v.pid)
		register(t, s, ProbeSpec{Location: v.where, Rung: breakpoint.Slot})
		v.hold()
		v.tell('t')
		v.said("trapped")
		detach(t, s)
		if now := mapsOf(t, v.pid); strings.Contains(newLines(v.maps, now), "r-xp") {
			t.Errorf("executable memory of ptracer's is left:\n%s", newLines(v.maps, now))
		}
		v.tell('r')
		v.hold()
		v.tell('r')
	}
	v.end()
}

// TestSurviveTwoSteps has the next tracer end, too, while it cleans up.
func TestSurviveTwoSteps(t *testing.T) {
	by := 50 * stride(t)
	for _, c := range steadies {
		t.Run(c.fixture, func(t *testing.T) {
			v := startSteady(t, c.fixture, c.where)
			pairs := 0
			for n, m := by, 1; !v.dies(n); n += by {
				for range 6 { // the next steps of the second, over all of the first's
					if m += 7; v.dies(m) {
						m = 1
					}
					pairs++
					v.check(fmt.Sprintf("tracers ended at step %d, then %d", n, m))
					v.dies(n)
				}
			}
			t.Logf("%d pairs", pairs)
			v.end()
		})
	}
}
