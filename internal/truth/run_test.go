package truth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is how long one run may take: long enough for a machine that does much else.
const patience = 3 * time.Minute

// tool is ptracer as a user has it: its program and a server.
type tool struct {
	path   string
	socket string
}

// newTool builds ptracer, or takes the one that fixture.ToolEnv names, and starts a
// server that ends with the test.
func newTool(t *testing.T) *tool {
	t.Helper()
	p := &tool{path: os.Getenv(fixture.ToolEnv), socket: filepath.Join(t.TempDir(), "socket")}
	if p.path == "" {
		p.path = filepath.Join(t.TempDir(), "ptracer")
		root, err := fixture.Root()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-o", p.path, "./cmd/ptracer")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	p.serve(t)
	return p
}

func (p *tool) serve(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(p.path, "serve", "--socket", p.socket, "--ready-fd", "3")
	cmd.ExtraFiles = []*os.File{w}
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || said.Len() > 0 {
			t.Errorf("server: %v\n%s", err, &said)
		}
	})
	if text, _ := io.ReadAll(io.LimitReader(r, int64(len("serving")))); string(text) != "serving" {
		t.Fatalf("server: %q", text)
	}
}

// outcome is what came of one run.
type outcome struct {
	status int
	result string // the output file
	said   string // standard error
	output string // the program's
}

// run runs a row.
func (p *tool) run(dir string, r *Row, program string) (*outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := filepath.Join(dir, "result")
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		return nil, err
	}
	var o *outcome
	var err error
	if r.Start == Command {
		o, err = p.start(ctx, r.Args(program, 0), out)
	} else {
		o, err = p.attach(ctx, r, program, out)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("not over after %v", patience)
	}
	if err != nil {
		return nil, err
	}
	result, err := os.ReadFile(out)
	o.result = string(result)
	return o, err
}

func (p *tool) command(ctx context.Context, args []string, out string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, append([]string{args[0], "-o", out}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "PTRACER_SOCKET="+p.socket)
	cmd.WaitDelay = time.Second
	return cmd
}

func (p *tool) start(ctx context.Context, args []string, out string) (*outcome, error) {
	cmd := p.command(ctx, args, out)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	status, err := statusOf(cmd.Run())
	return &outcome{status: status, said: stderr.String(), output: stdout.String()}, err
}

// attach starts a program that waits, then ptracer, and lets the program go on when
// ptracer says that its probes are there, or has ended.
func (p *tool) attach(ctx context.Context, r *Row, program, out string) (*outcome, error) {
	waiting := exec.CommandContext(ctx, program, r.ProgramArgs()...)
	waiting.WaitDelay = time.Second
	in, err := waiting.StdinPipe()
	if err != nil {
		return nil, err
	}
	pipe, err := waiting.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := waiting.Start(); err != nil {
		return nil, err
	}
	output := bufio.NewReader(pipe)
	first, err := output.ReadString('\n')
	o := &outcome{}
	if err == nil {
		cmd := p.command(ctx, r.Args(program, waiting.Process.Pid), out)
		err = o.beside(cmd, func() error {
			in.Close()
			rest, err := io.ReadAll(output)
			o.output = first + string(rest)
			return err
		})
	}
	in.Close()
	return o, errors.Join(err, waiting.Wait())
}

// beside runs cmd, and goOn when its probes are there or it has ended.
func (o *outcome) beside(cmd *exec.Cmd, goOn func() error) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(stderr)
	for !served.MatchString(o.said) {
		line, err := lines.ReadString('\n')
		o.said += line
		if err != nil {
			break
		}
	}
	done := make(chan error, 1)
	go func() { done <- goOn() }()
	rest, err := io.ReadAll(lines)
	o.said += string(rest)
	err = errors.Join(err, <-done)
	status, ended := statusOf(cmd.Wait())
	o.status = status
	return errors.Join(err, ended)
}

func statusOf(err error) (int, error) {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// judgement of a row.
type judgement int

const (
	wrong judgement = iota
	right
	refused
)

// judge holds an outcome against the truth: what is wrong with it is an error.
func (r *Row) judge(o *outcome) (judgement, error) {
	expect, why := r.Expect()
	a, err := Read(o.result, o.said)
	if err != nil {
		return wrong, err
	}
	if o.status != 0 {
		switch {
		case !strings.Contains(o.said, "ptracer: "):
			return wrong, fmt.Errorf("status %d, and nothing said", o.status)
		case len(a.Lines) > 0:
			return wrong, fmt.Errorf("status %d, and a result: %s", o.status, o.result)
		case expect == Right:
			return wrong, fmt.Errorf("status %d: %s", o.status, o.said)
		}
		return refused, nil
	}
	if expect == Refused {
		return wrong, fmt.Errorf("wanted to be refused (%s), got %s", why, o.result)
	}
	if strings.Contains(o.said, "could not be probed") {
		if expect == Right {
			return wrong, errors.New(o.said)
		}
		return refused, nil
	}
	truth, err := Parse(o.output)
	if err != nil {
		return wrong, err
	}
	if err := errors.Join(r.CheckMethod(a), r.Question.Check(truth, a)); err != nil {
		return wrong, err
	}
	return right, nil
}

func readFile(path, said string) (*Answer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Read(string(text), said)
}
