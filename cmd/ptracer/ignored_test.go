package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestIgnoredSignals starts ptracer with signals ignored, of which Go's runtime has
// handlers on most: the command ignores the same ones as it does alone.
func TestIgnoredSignals(t *testing.T) {
	sh, err := exec.LookPath("bash")
	if err != nil {
		skip.Missing(t, "bash")
	}
	tool := os.Getenv(fixture.ToolEnv)
	if tool == "" {
		// This test's own file has no symbols, by which the runtime's variable is found.
		tool = filepath.Join(t.TempDir(), "ptracer")
		if out, err := exec.Command("go", "build", "-o", tool, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	const show = "grep SigIgn /proc/self/status"
	for _, ignored := range []string{"", "PIPE TERM", "HUP INT QUIT USR1 USR2 ALRM CHLD TSTP WINCH RTMIN+3"} {
		setup := "true; exec "
		if ignored != "" {
			setup = "trap '' " + ignored + "; exec "
		}
		want, err := exec.Command(sh, "-c", setup+show).Output()
		got, err2 := exec.Command(sh, "-c", setup+tool+" count -o /dev/null libc:puts -- "+show).Output()
		if err != nil || err2 != nil || string(got) != string(want) || ignored != "" && strings.Contains(string(want), "0000000000000000") {
			t.Errorf("ignored %q: %s, %v; alone %s, %v", ignored, got, err2, want, err)
		}
	}
}
