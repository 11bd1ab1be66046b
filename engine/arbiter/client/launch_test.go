package client

import (
	"bufio"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
)

// running is a fixture that waits to be told to go on.
type running struct {
	id   int
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan error
}

// launch starts a fixture and waits until its own code runs.
func launch(t testing.TB, name string, args ...string) *running {
	t.Helper()
	p := &running{cmd: exec.Command(fixture.Path(t, "start"), append(append([]string{fixture.Path(t, name)}, args...), "wait")...), done: make(chan error, 1)}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if p.id, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid "))); err != nil || p.id == 0 {
		t.Fatalf("%s said %q, %v", name, line, err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(p.id, syscall.SIGKILL)
		<-p.done
	})
	return p
}

func (p *running) pid() int { return p.id }

// goOn lets the fixture go on.
func (p *running) goOn() { p.in.Close() }

// end waits for the fixture's end.
func (p *running) end() error {
	err := <-p.done
	p.done <- err
	return err
}
