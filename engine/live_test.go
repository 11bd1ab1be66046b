package engine

import (
	"bufio"
	"bytes"
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

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/procfs"
)

// running is a fixture that runs beside the test and is not its child: the
// kernel gives a tracee's end to its tracer's process, so that a parent that
// traces its own child can't wait for it as well. A starter process stands in
// between.
type running struct {
	t    testing.TB
	pid  int
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  bytes.Buffer
	errs bytes.Buffer
	done chan error
}

// launch runs a fixture up to where it has said its pid and waits for goOn.
func launch(t testing.TB, name string, args ...string) *running {
	t.Helper()
	return launchAs(t, os.Getuid(), name, args...)
}

// launchAs does it as another user.
func launchAs(t testing.TB, uid int, name string, args ...string) *running {
	t.Helper()
	return launchFile(t, uid, fixture.Path(t, name), args...)
}

// launchFile does it with a program that is no fixture.
func launchFile(t testing.TB, uid int, name string, args ...string) *running {
	t.Helper()
	p := &running{t: t, done: make(chan error, 1)}
	p.cmd = exec.Command(fixture.Path(t, "start"), append(append([]string{name}, args...), "wait")...)
	if uid != os.Getuid() {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, &p.errs
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if p.pid, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid "))); err != nil || p.pid == 0 {
		t.Fatalf("%s said %q, %v", name, line, err)
	}
	go func() {
		_, err := io.Copy(&p.out, lines)
		r.Close()
		p.done <- errors.Join(err, p.cmd.Wait())
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *running) kill() {
	if p.done == nil {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.done
}

// goOn lets the program leave its wait.
func (p *running) goOn() {
	if _, err := p.in.Write([]byte{'\n'}); err != nil {
		p.t.Error(err)
	}
}

// end waits for the program's end and returns what it printed and its status.
func (p *running) end() (out string, status int) {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done = nil
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		if p.errs.Len() > 0 {
			p.t.Errorf("it complained: %s", p.errs.String())
		}
		return p.out.String(), p.cmd.ProcessState.ExitCode()
	case <-time.After(hangs):
		p.t.Fatalf("program %d hangs: %s", p.pid, where(p.pid))
		return "", 0
	}
}

// stopped runs f while job control has the program stopped.
func (p *running) stopped(f func()) error {
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for state := procfs.State(p.pid); state != 'T'; state = procfs.State(p.pid) {
		if state == 0 || state == 'Z' {
			return errors.New("the program has ended already")
		}
		time.Sleep(time.Millisecond)
	}
	f()
	return syscall.Kill(p.pid, syscall.SIGCONT)
}

// hangs is how long a program may take; emulated CPUs are slow.
const hangs = 100 * time.Second

// pace is n, or less where a hit takes long: on an emulated CPU, as in the arm64 lane, and
// at the traps that stand in for jumps in the race detector's.
func pace[T any](n, slow T) T {
	if runtime.GOARCH == "arm64" || !jump.Enabled {
		return slow
	}
	return n
}

// where says what the tasks of a process are doing.
func where(pid int) string {
	var b strings.Builder
	names, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, n := range names {
		dir := fmt.Sprintf("/proc/%d/task/%s/", pid, n.Name())
		call, _ := os.ReadFile(dir + "syscall")
		tid, _ := strconv.Atoi(n.Name())
		fmt.Fprintf(&b, "\n%s: %c tracer %d, system call %s", n.Name(), procfs.State(tid), procfs.Tracer(tid), bytes.TrimSpace(call))
	}
	return b.String()
}

// alone runs a fixture without a tracer.
func alone(t testing.TB, name string, args ...string) (out string, status int) {
	t.Helper()
	p := launch(t, name, args...)
	p.goOn()
	return p.end()
}

// attach is Attach that fails the test, and detaches at its end.
func attach(t testing.TB, pid int, opts ...Options) Session {
	t.Helper()
	s, err := Attach(context.Background(), pid, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(t, s) })
	return s
}

func detach(t testing.TB, s Session) {
	t.Helper()
	if err := s.Detach(); err != nil {
		t.Errorf("detach: %v", err)
	}
	for e := range s.Events(context.Background()) {
		if w, ok := e.Body.(*event.Warning); ok {
			if strings.Contains(w.Text, "it gets no CPU time") { // the machine is busy: an emulated one may stand for seconds
				t.Logf("warning: %s", w.Text)
				continue
			}
			t.Errorf("warning: %s", w.Text)
		}
	}
}

// register is Register that fails the test.
func register(t testing.TB, s Session, spec ProbeSpec) event.ProbeID {
	t.Helper()
	id, err := s.Register(spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// said finds the number that a fixture printed behind a word.
func said(t testing.TB, out, word string) uint64 {
	t.Helper()
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %q in %q", word, out)
	return 0
}

// poll waits for an event with a body of some type and drops others.
func poll[B event.Body](t testing.TB, s Session) (e event.Event, body B) {
	t.Helper()
	for e = range s.Events(t.Context()) {
		if b, ok := e.Body.(B); ok {
			return e, b
		}
	}
	t.Fatalf("the session ended without a %T", body)
	return e, body
}
