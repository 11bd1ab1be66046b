package engine

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// runs has a command run under a session, from its start.
func runs(t *testing.T, o Options, probes []ProbeSpec, path string, args ...string) (s Session, out string, code int) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err = Start(context.Background(), Command{Path: path, Args: args, Stdout: f, Stderr: f}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	for _, spec := range probes {
		spec.Pending = true
		register(t, s, spec)
	}
	pid := s.Processes()[0]
	if err := s.Resume(pid); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(hangs):
		t.Fatalf("it hangs: %s", where(pid))
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	e, ok := s.Exit(pid)
	if !ok {
		t.Error("it is not known how it ended")
	}
	return s, string(b), e.Code()
}

// told are the texts of a session's events about released processes, and of its warnings.
func told(t *testing.T, s Session) (released, warnings []string) {
	for e := range s.Events(t.Context()) {
		switch b := e.Body.(type) {
		case *event.Released:
			released = append(released, b.Text)
		case *event.Warning:
			warnings = append(warnings, b.Text)
		}
	}
	return released, warnings
}

var numbers = regexp.MustCompile(`0x[0-9a-f]+|==\d+==|pid \d+|\+0x\w+|BuildId: \w+`)

// TestLeakSanitizer has a program look for its own leaks, by a task that traces the others, at its
// end and before. It finds the same with and without ptracer.
func TestLeakSanitizer(t *testing.T) {
	path := fixture.Path(t, "leaky")
	for _, args := range [][]string{{"1000"}, {"1000", "300"}} {
		cmd := exec.Command(path, args...)
		want, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(want, []byte("detected memory leaks")) || bytes.Contains(want, []byte("fatal error")) {
			skip.Missing(t, "a LeakSanitizer that works")
		}
		for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot} {
			t.Run(strings.Join(args, "-")+rung.String(), func(t *testing.T) {
				s, out, code := runs(t, Options{}, []ProbeSpec{{Location: "work", Rung: rung}}, path, args...)
				if numbers.ReplaceAllString(out, "N") != numbers.ReplaceAllString(string(want), "N") || code != cmd.ProcessState.ExitCode() {
					t.Errorf("status %d, want %d, %s, want %s", code, cmd.ProcessState.ExitCode(), out, want)
				}
				if n := s.Hits(1); n < 1000 || rung == breakpoint.Auto && jump.Enabled && n != said(t, out, "calls") {
					t.Errorf("%d hits", n)
				}
				// The second time it may still be away.
				if texts, _ := told(t, s); len(texts) == 0 || len(texts) > len(args) || !strings.Contains(texts[0], "CLONE_UNTRACED") {
					t.Errorf("told %q", texts)
				}
			})
		}
	}
}

// TestDebuggers runs debuggers under a session that follows children. They get their programs, with
// the same results as without ptracer.
func TestDebuggers(t *testing.T) {
	loop := fixture.Path(t, "loop")
	log := filepath.Join(t.TempDir(), "log")
	for _, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{"strace", []string{"-o", log, "-e", "trace=write", loop, "10"}, "calls 10\nsum 145\n"},
		{"strace", []string{"-D", "-o", log, "-e", "trace=write", loop, "10"}, "calls 10\nsum 145\n"},
		{"gdb", []string{"-nx", "-q", "-batch", "-ex", "break work", "-ex", "run", "-ex", "print $_siginfo.si_signo", "-ex", "delete", "-ex", "continue", "--args", loop, "10"}, "Breakpoint 1, work"},
	} {
		t.Run(strings.Join(append([]string{c.program}, c.args[:1]...), ""), func(t *testing.T) {
			path, err := exec.LookPath(c.program)
			if err != nil {
				skip.Missing(t, c.program)
			}
			s, out, code := runs(t, Options{Follow: true}, []ProbeSpec{{Location: "libc:write"}, {Location: "work"}}, path, c.args...)
			if code != 0 || !strings.Contains(out, c.want) || !strings.Contains(out, "calls 10\nsum 145\n") {
				t.Errorf("status %d, %s", code, out)
			}
			if b, _ := os.ReadFile(log); c.program == "strace" && !strings.Contains(string(b), `write(1, "calls 10`) {
				t.Errorf("its log: %s", b)
			}
			if texts, _ := told(t, s); len(texts) == 0 {
				t.Error("nothing was told")
			}
		})
	}
}

// TestSampler has a program attach to a thread of its own again and again, also while
// it is taken back from the time before: each attach succeeds, as it does alone, no
// call is forgotten, and no warning is told.
func TestSampler(t *testing.T) {
	needsJumping(t)
	s, out, code := runs(t, Options{Follow: true}, []ProbeSpec{{Location: "sampler:work"}}, fixture.Path(t, "sampler"), "60")
	if failed := said(t, out, "failed"); failed != 0 || code != 0 {
		t.Errorf("%d attaches failed, status %d", failed, code)
	}
	if calls := said(t, out, "calls"); s.Hits(1) != calls {
		t.Errorf("%d hits of %d calls", s.Hits(1), calls)
	}
	if _, texts := told(t, s); len(texts) > 0 {
		t.Errorf("told %q", texts)
	}
}

// TestGoTracer has a tracer written in Go, which makes its calls without a libc, run
// under a session: it starts and attaches as it does alone.
func TestGoTracer(t *testing.T) {
	path, loop := fixture.Path(t, "gotracer"), fixture.Path(t, "loop")
	want, err := exec.Command(path, loop, "10").Output()
	if err != nil || !bytes.Contains(want, []byte("attach: <nil>")) {
		skip.Missing(t, "the right to attach")
	}
	s, out, code := runs(t, Options{Follow: true}, []ProbeSpec{{Location: "libc:write"}}, path, loop, "10")
	if numbers.ReplaceAllString(out, "N") != numbers.ReplaceAllString(string(want), "N") || code != 0 {
		t.Errorf("status %d, %s, want %s", code, out, want)
	}
	if released, warnings := told(t, s); len(released) != 2 || len(warnings) != 0 {
		t.Errorf("told %q, %q", released, warnings)
	}
}
