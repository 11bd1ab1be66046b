package amd64

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/skip"
)

// tool is the path of a program, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip.Missing(t, name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestGuardLayout(t *testing.T) {
	g := ISA.Guard()
	if g.Header%16 != 0 || g.Header < len(g.Code) || g.Handler < 0 || g.Restorer <= g.Handler || g.Restorer >= len(g.Code) {
		t.Errorf("handler %d, restorer %d, header %d, %d bytes", g.Handler, g.Restorer, g.Header, len(g.Code))
	}
}

// TestGuardAssembled compares the bytes with their source.
func TestGuardAssembled(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "an assembler for amd64")
	}
	as, objcopy, nm := tool(t, "as"), tool(t, "objcopy"), tool(t, "nm")
	object, binary := filepath.Join(t.TempDir(), "guard.o"), filepath.Join(t.TempDir(), "guard")
	run(t, as, "-o", object, "testdata/guard.S")
	run(t, objcopy, "-O", "binary", "-j", ".text", object, binary)
	want, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	g := ISA.Guard()
	if !bytes.Equal(g.Code, want) {
		t.Errorf("assembled:\n% x\nhere:\n% x", want, g.Code)
	}
	for _, line := range strings.Split(run(t, nm, object), "\n") {
		f := strings.Fields(line)
		at := map[string]int{"handler": g.Handler, "restorer": g.Restorer, "header": g.Header}
		if len(f) != 3 {
			continue
		}
		if have, ok := at[f[2]]; ok {
			if off, _ := strconv.ParseInt(f[0], 16, 64); int(off) != have {
				t.Errorf("%s at %#x, not %#x", f[2], off, have)
			}
		}
	}
}

// TestGuardRuns raises real traps.
func TestGuardRuns(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "an amd64 CPU")
	}
	program, code := filepath.Join(t.TempDir(), "guard_run"), filepath.Join(t.TempDir(), "code")
	run(t, tool(t, "gcc"), "-O1", "-pthread", "-o", program, "testdata/guard_run.c")
	g := ISA.Guard()
	if err := os.WriteFile(code, g.Code, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		dies bool
	}{
		{"resume", false}, {"chain", false}, {"chain-swallow", false}, {"chain-freed", false},
		{"given-back", false}, {"given-back-sent", false}, {"another's", false},
		{"swallow", false}, {"ignored-sent", false}, {"default-pc", false},
		{"default-int3", true}, {"default-freed", true}, {"default-sent", true}, {"default-step", true},
		{"default-thread", true}, {"ignored-int3", true}, {"ignored-step", true},
		// A case that no handler can solve: the kernel does not call one.
		{"blocked-int3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, code, strconv.Itoa(g.Handler), strconv.Itoa(g.Restorer), strconv.Itoa(g.Header), c.name)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
			switch {
			case c.dies && !(ws.Signaled() && ws.Signal() == syscall.SIGTRAP):
				t.Errorf("status %#x, not death by SIGTRAP: %s", ws, out)
			case !c.dies && !(ws.Exited() && ws.ExitStatus() == 0):
				t.Errorf("status %#x: %s", ws, out)
			}
		})
	}
}
