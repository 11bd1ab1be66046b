package bench

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// A process is a program with its input and output in our hands: the traced
// one, or a tracer.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	pipe *os.File
	pid  int

	patched float64 // what fixture hits has counted itself
}

// start runs a program; what it says on standard error comes with its output.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	p.in, p.pipe, p.out, p.pid = in, r, bufio.NewReader(r), cmd.Process.Pid
	return p
}

// fixtureRun starts a fixture up to where it waits for its input.
func fixtureRun(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := start(t, exec.Command(fixture.Path(t, name), append(args, "wait")...))
	p.until("pid ")
	return p
}

// until reads up to a line that holds word, and returns it.
func (p *process) until(word string) string {
	p.t.Helper()
	var seen strings.Builder
	p.pipe.SetReadDeadline(time.Now().Add(hangs))
	for {
		line, err := p.out.ReadString('\n')
		seen.WriteString(line)
		if strings.Contains(line, word) {
			return line
		}
		if err != nil {
			p.kill()
			p.t.Fatalf("%v: no %q in %q: %v", p.cmd, word, seen.String(), err)
		}
	}
}

// hangs is how long anything may take.
const hangs = 100 * time.Second

// number is the number behind word in the next line that has it.
func (p *process) number(word string) float64 {
	p.t.Helper()
	return number(p.t, p.until(word+" "), word)
}

func number(t testing.TB, line, word string) float64 {
	t.Helper()
	_, rest, _ := strings.Cut(line, word+" ")
	v, err := strconv.ParseFloat(strings.TrimRight(strings.Fields(rest + " -")[0], "."), 64)
	if err != nil {
		t.Fatalf("%q has no number behind %q", line, word)
	}
	return v
}

func (p *process) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the process's end.
func (p *process) end() {
	p.t.Helper()
	stuck := time.AfterFunc(hangs, func() { p.cmd.Process.Kill() })
	defer stuck.Stop()
	io.Copy(io.Discard, p.out)
	p.pipe.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v: %v", p.cmd, err)
	}
}

// kill ends a process that would not end by itself.
func (p *process) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.pipe.Close()
	p.cmd.Wait()
}

// symbol is a function of a program that lies where its file says.
type symbol struct{ addr, offset uint64 }

// symbolOf looks up a function in a fixture.
func symbolOf(t testing.TB, path, name string) symbol {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if s.Name != name {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value < p.Vaddr+p.Filesz {
				return symbol{s.Value, s.Value - p.Vaddr + p.Off}
			}
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return symbol{}
}

// tool is the path of a program that may be missing.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip.Missing(t, "program "+name)
	}
	return path
}

// tasks are the threads of a process.
func tasks(t testing.TB, pid int) (tids []int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}
