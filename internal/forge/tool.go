package forge

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// Tool finds a program that a test needs. Without it the test is skipped.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip.Missing(t, name)
	}
	return path
}

// Run runs a program and returns what it prints.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Tool(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "CGO_ENABLED=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// Compile makes a program in a folder of its own. Arguments that name a file in dir are taken from
// there.
func Compile(t testing.TB, dir, compiler string, args ...string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "prog")
	for i, a := range args {
		if path := filepath.Join(dir, a); a != "" {
			if _, err := os.Stat(path); err == nil {
				args[i] = path
			}
		}
	}
	Run(t, compiler, append([]string{"-o", out}, args...)...)
	return out
}
