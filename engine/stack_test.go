package engine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestStacksAgainstGDB compares the return addresses of real programs, at their first call of a
// function, with what gdb says of the same call. It compares their places in pages: with ptracer's
// mappings, libraries lie elsewhere.
func TestStacksAgainstGDB(t *testing.T) {
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		skip.Missing(t, "gdb")
	}
	script := filepath.Join(t.TempDir(), "load.py")
	if err := os.WriteFile(script, []byte("import os\ndef f(): os.getloadavg()\nf()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   string
		argv []string
	}{
		"ls":          {"write", []string{"ls", "/"}},
		"bash":        {"write", []string{"bash", "-c", "times"}}, // no argument has a blank: gdb divides them there
		"python3":     {"getloadavg", []string{"/usr/bin/python3", "-B", script}},
		"sqlite3":     {"write", []string{"sqlite3", "--version"}},
		"static":      {"work", []string{fixture.Path(t, "loop-static"), "1"}},
		"not PIE":     {"work", []string{fixture.Path(t, "loop-nopie"), "1"}},
		"many frames": {"leaf", []string{fixture.Path(t, "calls"), "1", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(c.argv[0])
			if err != nil {
				skip.Missing(t, c.argv[0])
			}
			want := gdbStack(t, gdb, c.at, path, c.argv[1:])
			got := firstStack(t, c.at, path, c.argv[1:])
			// gdb's breakpoint is behind the function's first instructions.
			if len(want) < 2 || len(got) < 1 || !slices.Equal(got[1:], want) {
				t.Errorf("%v, gdb says %v", got, want)
			}
		})
	}
}

var frameLine = regexp.MustCompile(`(?m)^#[1-9]\d* +0x([0-9a-f]+) in `)

// inPage is the part of an address, in hexadecimal, that is the same wherever an
// object lies.
func inPage(addr string) string { return addr[max(0, len(addr)-3):] }

func gdbStack(t *testing.T, gdb, at, path string, args []string) (stack []string) {
	t.Helper()
	argv := append([]string{"-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set startup-with-shell off",
		"-ex", "set breakpoint pending on", "-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on",
		"-ex", "break " + at, "-ex", "run", "-ex", "bt", "-ex", "kill", "--args", path}, args...)
	out, err := exec.Command(gdb, argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("gdb: %v\n%s", err, out)
	}
	for _, m := range frameLine.FindAllSubmatch(out, -1) {
		stack = append(stack, inPage(string(m[1])))
	}
	return stack
}

// firstStack is the stack at the first call.
func firstStack(t *testing.T, at, path string, args []string) (stack []string) {
	t.Helper()
	s, err := Start(context.Background(), Command{Path: path, Args: args, NoASLR: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	h := openHandler(t, s, HandlerSpec{Name: "stacks", Where: handler.Engine, Params: builtin.Params{Guards: builtin.Guards{Hits: 1}}})
	register(t, s, ProbeSpec{Location: at, Handler: h, Pending: true})
	if err := s.Resume(s.Processes()[0]); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	r, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.(*builtin.StackCounts).Stacks[0].Addrs {
		stack = append(stack, inPage(a.String()))
	}
	return stack
}

// TestStackInHandler goes up through a signal handler to what it interrupted.
func TestStackInHandler(t *testing.T) {
	p := launch(t, "queue", "50")
	s := attach(t, p.pid)
	h := openHandler(t, s, HandlerSpec{Name: "stacks", Where: handler.Engine})
	register(t, s, ProbeSpec{Location: "handler", Handler: h})
	p.goOn()
	p.end()
	<-s.Done()
	r, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := r.(*builtin.StackCounts)
	counts.Name = func(pid uint32, at arch.Addr) string {
		sym, _ := s.Symbolize(int(pid), at)
		return sym.Function
	}
	var text strings.Builder
	if err := counts.Text(&text, 80); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, st := range counts.Stacks {
		total += st.Count
	}
	if total != 101 {
		t.Errorf("%d calls of the handler, not 101", total)
	}
	for line := range strings.Lines(text.String()) {
		if !regexp.MustCompile(`;main;.*;handler \d+\n$`).MatchString(line) || strings.Contains(line, "frame_dummy") {
			t.Errorf("%s", line)
		}
	}
}
