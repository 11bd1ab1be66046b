package client

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
)

// running is a fixture that waits for a signal to continue.
type running struct {
	id   int
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  bytes.Buffer // valid after its end
	done chan error
}

// launch starts a fixture and waits until its own code runs.
func launch(t testing.TB, name string, args ...string) *running {
	t.Helper()
	return launchAs(t, nil, nil, append([]string{fixture.Path(t, name)}, args...)...)
}

// launchAs does it with other attributes and with more open files, those of the fixture, which is
// not a child of this process.
func launchAs(t testing.TB, as *syscall.SysProcAttr, files []*os.File, command ...string) *running {
	t.Helper()
	p := &running{cmd: exec.Command(fixture.Path(t, "start"), append(command, "wait")...), done: make(chan error, 1)}
	p.cmd.SysProcAttr, p.cmd.ExtraFiles = as, files
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if p.id, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid "))); err != nil || p.id == 0 {
		t.Fatalf("%v said %q, %v", command, line, err)
	}
	go func() {
		_, _ = io.Copy(&p.out, lines)
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(p.id, syscall.SIGKILL)
		<-p.done
	})
	return p
}

func (p *running) pid() int { return p.id }

// goOn makes the fixture continue.
func (p *running) goOn() { p.in.Close() }

// end waits for the fixture's end.
func (p *running) end() error {
	err := <-p.done
	p.done <- err
	return err
}

// said returns the number that the fixture has printed behind a word.
func (p *running) said(t testing.TB, word string) uint64 {
	t.Helper()
	for line := range strings.Lines(p.out.String()) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %q in %q", word, p.out.String())
	return 0
}

// until waits until a condition is true.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// status returns a line of /proc/PID/status.
func status(pid int, key string) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	_, rest, _ := strings.Cut(string(b), "\n"+key+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
