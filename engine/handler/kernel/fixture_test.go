package kernel

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

var once = sync.OnceValue(Available)

// available skips a test if the kernel does not permit eBPF.
func available(t *testing.T) {
	t.Helper()
	if err := once(); err != nil {
		skip.Missing(t, err.Error())
	}
}

// waiting is a fixture that waits for a byte before it works.
type waiting struct {
	t    *testing.T
	path string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	pid  int
}

// start starts a fixture; its last argument is "wait" by itself.
func start(t *testing.T, name string, args ...string) *waiting {
	t.Helper()
	return startFile(t, fixture.Path(t, name), args...)
}

func startFile(t *testing.T, path string, args ...string) *waiting {
	t.Helper()
	w := &waiting{t: t, path: path}
	w.cmd = exec.Command(w.path, append(args, "wait")...)
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cmd.Process.Kill(); w.cmd.Wait() })
	w.out = bufio.NewReader(out)
	if _, err := fmt.Fscanf(w.out, "pid %d\n", &w.pid); err != nil {
		t.Fatal(err)
	}
	return w
}

// run lets it work until its end, and gives what it says of its calls.
func (w *waiting) run() (calls uint64) {
	w.t.Helper()
	w.in.Close()
	if _, err := fmt.Fscanf(w.out, "calls %d\n", &calls); err != nil {
		w.t.Fatal(err)
	}
	io.Copy(io.Discard, w.out)
	if err := w.cmd.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return calls
}

// offset is where a function is in its file.
func (w *waiting) offset(function string) uint64 {
	w.t.Helper()
	f, err := elf.Open(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name != function {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value < p.Vaddr+p.Filesz {
				return s.Value - p.Vaddr + p.Off
			}
		}
	}
	w.t.Fatalf("%s has no function %s", w.path, function)
	return 0
}
